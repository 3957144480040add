-- name: claim
INSERT INTO payments (id, purpose, asset_id, payer, nonce, pay_to, amount, valid_after, valid_before, signature,
    request_digest, credit_id, is_owed, fee)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (asset_id, payer, nonce) DO NOTHING
RETURNING id

-- name: find
SELECT payments.*, (
    SELECT hash FROM chain_transactions WHERE payment_id = payments.id ORDER BY nonce DESC LIMIT 1
) AS transaction_hash
FROM payments WHERE asset_id = $1 AND payer = $2 AND nonce = $3

-- name: get
SELECT payments.*, (
    SELECT hash FROM chain_transactions WHERE payment_id = payments.id ORDER BY nonce DESC LIMIT 1
) AS transaction_hash
FROM payments WHERE id = $1

-- name: void
UPDATE payments SET state = 'void', failure = $2, closed_at = now()
WHERE id = $1 AND state = 'claimed'
RETURNING id

-- name: submit
UPDATE payments SET state = 'submitted', usage = $2
WHERE id = $1 AND state = 'claimed'
RETURNING id

-- name: settle
UPDATE payments SET state = 'settled', closed_at = now()
WHERE id = $1 AND state = 'submitted'
RETURNING *

-- name: fail
UPDATE payments SET state = 'failed', failure = $2, closed_at = now()
WHERE id = $1 AND state IN ('claimed', 'submitted')
RETURNING id

-- name: submitted_before
SELECT payments.id FROM payments JOIN assets ON assets.id = payments.asset_id
WHERE state = 'submitted' AND network = $1 AND payments.created_at < now() - $2::interval
ORDER BY payments.created_at LIMIT $3

-- name: abandon
-- Claimed by a process that died before anything was sent: the payer was not charged and will not be.
UPDATE payments SET state = 'void', failure = 'abandoned', closed_at = now()
WHERE state = 'claimed' AND created_at < now() - $1::interval
RETURNING id
