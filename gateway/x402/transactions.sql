-- name: register
INSERT INTO signers (network, address, next_nonce) VALUES ($1, $2, $3)
ON CONFLICT (network, address) DO UPDATE SET next_nonce = greatest(signers.next_nonce, excluded.next_nonce)

-- name: take_nonces
-- The row stays locked until the transaction ends, so rolled back nonces are handed out again before any later one.
UPDATE signers SET next_nonce = next_nonce + $3 WHERE network = $1 AND address = $2
RETURNING next_nonce - $3

-- name: store
INSERT INTO chain_transactions (hash, payment_id, network, signer, nonce, raw, is_shared)
SELECT hash, payment_id, $1, $2, $3::bigint + place - 1, raw, is_shared
FROM unnest($4::bytea[], $5::uuid[], $6::bytea[], $7::boolean[]) WITH ORDINALITY
    AS signed (hash, payment_id, raw, is_shared, place)

-- name: share
UPDATE payments SET carrier_id = asked.carrier_id
FROM unnest($1::uuid[], $2::uuid[]) AS asked (id, carrier_id)
WHERE payments.id = asked.id

-- name: leave
-- A payment that its shared transaction did not settle gets one of its own, once.
UPDATE payments SET carrier_id = NULL
WHERE id = $1 AND carrier_id IS NOT NULL AND state IN ('submitted', 'settled')
RETURNING id

-- name: submit
-- The same as submitting, taking nonces and storing one after the other, for whoever guessed the nonces right and has
-- signed already. All of it or nothing: a payment that is not claimed any more would leave a gap, so then there is no
-- hash, and the column refuses that.
WITH kept AS (SELECT), asked AS (
    -- Answers are kept in the part before this; see ``answers.store.keeping``.
    SELECT * FROM unnest($4::uuid[], $5::text[]::jsonb[], $6::uuid[]) AS asked (payment_id, usage, carrier_id)
), taken AS (
    UPDATE signers SET next_nonce = next_nonce + cardinality($7::bytea[])
    WHERE network = $1 AND address = $2 AND next_nonce = $3::bigint
    RETURNING 1
), submitted AS (
    UPDATE payments SET state = 'submitted', usage = asked.usage, carrier_id = asked.carrier_id, asked_at = now()
    FROM asked
    WHERE payments.id = asked.payment_id
        -- Claimed, in words that do not lead through the index of all that are, and of all that were.
        AND state NOT IN ('void', 'submitted', 'settled', 'failed') AND EXISTS (SELECT FROM taken)
    RETURNING 1
), counted AS (
    SELECT count(*) = cardinality($4::uuid[]) AS is_whole FROM submitted
)
INSERT INTO chain_transactions (hash, payment_id, network, signer, nonce, raw, is_shared)
SELECT CASE WHEN is_whole THEN hash END, payment_id, $1, $2, $3::bigint + place - 1, raw, is_shared
FROM unnest($7::bytea[], $8::uuid[], $9::bytea[], $10::boolean[]) WITH ORDINALITY
    AS signed (hash, payment_id, raw, is_shared, place)
CROSS JOIN counted WHERE EXISTS (SELECT FROM taken)
RETURNING payment_id

-- name: signed
SELECT payments.id AS payment_id, hash, raw FROM payments JOIN chain_transactions
    ON payment_id = coalesce(carrier_id, payments.id) AND is_shared = (carrier_id IS NOT NULL)
WHERE payments.id = ANY ($1::uuid[]) AND replaces IS NULL

-- name: replace
-- Of two processes that replace a transaction, one does.
INSERT INTO chain_transactions (hash, payment_id, network, signer, nonce, raw, is_shared, replaces)
SELECT $2, payment_id, network, signer, nonce, $3, is_shared, hash FROM chain_transactions WHERE hash = $1
ON CONFLICT DO NOTHING
RETURNING hash

-- name: of_payments
SELECT payments.id, assets.id AS asset_id, assets.network, assets.address AS asset, assets.decimals,
    payer, pay_to, amount, payments.nonce, valid_after, valid_before, signature, state, failure, known_hash,
    payments.created_at AS claimed_at, coalesce(sent.hashes, '{}') AS hashes, sent.signer, sent.signer_nonce,
    carrier_id IS NOT NULL AS is_shared
FROM payments
JOIN assets ON assets.id = asset_id
CROSS JOIN LATERAL (
    SELECT array_agg(hash ORDER BY created_at DESC) AS hashes, min(signer) AS signer, min(nonce) AS signer_nonce
    FROM chain_transactions
    WHERE payment_id = coalesce(carrier_id, payments.id) AND is_shared = (carrier_id IS NOT NULL)
) AS sent
WHERE payments.id = ANY ($1::uuid[])

-- name: from_nonce
-- The newest of each nonce.
SELECT DISTINCT ON (nonce) raw FROM chain_transactions
WHERE network = $1 AND signer = $2 AND nonce BETWEEN $3 AND $4
ORDER BY nonce, created_at DESC LIMIT 100

-- name: stuck
-- The newest transaction with this nonce, if it has waited for so long and was not replaced too often.
SELECT hash, raw FROM (
    SELECT hash, raw, created_at, count(*) OVER () AS versions FROM chain_transactions
    WHERE network = $1 AND signer = $2 AND nonce = $3
) AS found
WHERE versions <= $5
    AND NOT EXISTS (SELECT FROM chain_transactions AS later WHERE later.replaces = found.hash)
    AND created_at < now() - $4::interval
