-- name: register
INSERT INTO signers (network, address, next_nonce) VALUES ($1, $2, $3)
ON CONFLICT (network, address) DO UPDATE SET next_nonce = greatest(signers.next_nonce, excluded.next_nonce)

-- name: take_nonce
-- The row stays locked until the transaction ends, so a rolled back nonce is handed out again before any later one.
UPDATE signers SET next_nonce = next_nonce + 1 WHERE network = $1 AND address = $2
RETURNING next_nonce - 1

-- name: store
INSERT INTO chain_transactions (hash, payment_id, network, signer, nonce, raw) VALUES ($1, $2, $3, $4, $5, $6)

-- name: of_payment
SELECT chain_transactions.hash, chain_transactions.network, signer, chain_transactions.nonce AS signer_nonce,
    assets.address AS asset, payer, pay_to, amount, payments.nonce, valid_before, state, failure,
    payments.created_at AS claimed_at
FROM chain_transactions
JOIN payments ON payments.id = payment_id
JOIN assets ON assets.id = asset_id
WHERE payment_id = $1
ORDER BY chain_transactions.nonce DESC LIMIT 1

-- name: from_nonce
SELECT raw FROM chain_transactions
WHERE network = $1 AND signer = $2 AND nonce BETWEEN $3 AND $4
ORDER BY nonce LIMIT 100
