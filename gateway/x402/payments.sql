-- part: claiming
INSERT INTO payments (id, purpose, request_digest, credit_id, is_owed, fee, identifier, asset_id, payer, nonce,
    pay_to, amount, valid_after, valid_before, signature)
SELECT id, purpose, request_digest, credit_id, is_owed, fee, identifier, asset_id, payer, nonce,
    pay_to, amount, valid_after, valid_before, signature
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[], $5::boolean[], $6::numeric[], $7::text[],
    $8::uuid[], $9::text[], $10::bytea[], $11::text[], $12::numeric[], $13::numeric[], $14::numeric[], $15::bytea[],
    $16::integer[])
    AS asked (id, purpose, request_digest, credit_id, is_owed, fee, identifier, asset_id, payer, nonce,
        pay_to, amount, valid_after, valid_before, signature, failures_max)
WHERE NOT EXISTS (
    SELECT FROM payer_failures
    WHERE payer_failures.payer = asked.payer AND failures >= failures_max AND failures_max > 0
        AND failed_at > now() - interval '1 hour'
)
-- Its nonce was claimed, or what it calls itself.
ON CONFLICT DO NOTHING

-- name: claim
{claiming}
RETURNING id

-- name: claim_and_sum
WITH made AS (
    {claiming}
    RETURNING id, asset_id, payer
)
SELECT made.id, coalesce(before.promised, 0) AS promised FROM made LEFT JOIN (
    SELECT asset_id, payer, promised FROM (SELECT DISTINCT asset_id, payer FROM made) AS one CROSS JOIN LATERAL (
        -- Without those that are being made, which this statement does not see.
        SELECT sum(amount) AS promised FROM payments
        WHERE asset_id = one.asset_id AND payer = one.payer AND state = 'claimed'
    ) AS sums
) AS before USING (asset_id, payer)

-- name: states
SELECT id, state FROM payments WHERE id = ANY ($1::uuid[])

-- name: promised
SELECT asset_id, payer, promised FROM unnest($1::uuid[], $2::text[]) AS asked (asset_id, payer) CROSS JOIN LATERAL (
    SELECT sum(amount) AS promised FROM payments
    WHERE asset_id = asked.asset_id AND payer = asked.payer AND state = 'claimed'
) AS sums
WHERE promised > 0

-- name: find
SELECT payments.*, coalesce(known_hash, (
    SELECT hash FROM chain_transactions
    WHERE payment_id = coalesce(carrier_id, payments.id) AND is_shared = (carrier_id IS NOT NULL)
    ORDER BY created_at DESC LIMIT 1
)) AS transaction_hash
FROM payments WHERE asset_id = $1 AND payer = $2 AND nonce = $3

-- name: find_identified
SELECT payments.*, coalesce(known_hash, (
    SELECT hash FROM chain_transactions
    WHERE payment_id = coalesce(carrier_id, payments.id) AND is_shared = (carrier_id IS NOT NULL)
    ORDER BY created_at DESC LIMIT 1
)) AS transaction_hash
FROM payments WHERE payer = $1 AND identifier = $2 AND state IN ('claimed', 'submitted', 'settled')

-- name: get
SELECT payments.*, coalesce(known_hash, (
    SELECT hash FROM chain_transactions
    WHERE payment_id = coalesce(carrier_id, payments.id) AND is_shared = (carrier_id IS NOT NULL)
    ORDER BY created_at DESC LIMIT 1
)) AS transaction_hash
FROM payments WHERE id = $1

-- name: failures
SELECT failures FROM payer_failures WHERE payer = $1 AND failed_at > now() - interval '1 hour'

-- name: forgive
DELETE FROM payer_failures WHERE payer IN (SELECT payer FROM payments WHERE id = ANY ($1::uuid[]))

-- name: void
WITH ended AS (
    UPDATE payments SET state = 'void', failure = $2, closed_at = now()
    WHERE id = $1 AND state NOT IN ('void', 'submitted', 'settled', 'failed')
    RETURNING id, payer
), blamed AS (
    INSERT INTO payer_failures (payer, failures) SELECT payer, 1 FROM ended WHERE $3::boolean
    ON CONFLICT (payer) DO UPDATE SET failed_at = now(), failures =
        CASE WHEN payer_failures.failed_at < now() - interval '1 hour' THEN 1 ELSE payer_failures.failures + 1 END
)
SELECT id FROM ended

-- name: submit
-- The answers that are paid for are kept in the first part; see ``answers.store.keeping``.
WITH kept AS (SELECT)
UPDATE payments SET state = 'submitted', usage = asked.usage, asked_at = now()
FROM unnest($1::uuid[], $2::text[]::jsonb[]) AS asked (id, usage)
WHERE payments.id = asked.id
    -- Claimed, in words that do not lead through the index of all that are, and of all that were.
    AND state NOT IN ('void', 'submitted', 'settled', 'failed')
RETURNING payments.id

-- name: settle
-- Each is settled once, and what it earned is paid out already where the payer paid the publisher's own wallet.
UPDATE payments SET state = 'settled', closed_at = now(), known_hash = coalesce(asked.hash, known_hash),
    final_at = CASE WHEN asked.is_final THEN now() END
FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::boolean[]) AS asked (id, payout_id, hash, is_final)
WHERE payments.id = asked.id AND state NOT IN ('claimed', 'void', 'settled', 'failed')
RETURNING payments.id, CASE WHEN purpose = 'call' AND NOT is_owed THEN asked.payout_id END AS payout_id

-- name: fail
WITH ended AS (
    UPDATE payments SET state = 'failed', failure = $2, closed_at = now()
    WHERE id = $1 AND state NOT IN ('void', 'settled', 'failed')
    RETURNING id, payer
), blamed AS (
    INSERT INTO payer_failures (payer, failures) SELECT payer, 1 FROM ended WHERE $3::boolean
    ON CONFLICT (payer) DO UPDATE SET failed_at = now(), failures =
        CASE WHEN payer_failures.failed_at < now() - interval '1 hour' THEN 1 ELSE payer_failures.failures + 1 END
)
SELECT id FROM ended

-- name: name_transaction
UPDATE payments SET known_hash = $2 WHERE id = $1 AND state = 'submitted' AND known_hash IS DISTINCT FROM $2

-- name: take_submitted
-- Whoever takes a payment asks for its outcome: the others take others, and the longest unasked comes first, so one
-- that never ends keeps none waiting.
UPDATE payments SET asked_at = now()
WHERE id IN (
    SELECT payments.id FROM payments JOIN assets ON assets.id = payments.asset_id
    WHERE state = 'submitted' AND network = $1 AND coalesce(asked_at, payments.created_at) < now() - $2::interval
    ORDER BY coalesce(asked_at, payments.created_at) LIMIT $3 FOR UPDATE OF payments SKIP LOCKED
)
RETURNING id

-- name: take_settled
UPDATE payments SET asked_at = now()
WHERE id IN (
    SELECT id FROM payments
    WHERE state = 'settled' AND final_at IS NULL AND coalesce(asked_at, created_at) < now() - $1::interval
    ORDER BY coalesce(asked_at, created_at) LIMIT $2 FOR UPDATE SKIP LOCKED
)
RETURNING id

-- name: finalize
UPDATE payments SET final_at = now() WHERE id = ANY ($1::uuid[])

-- name: lose
UPDATE payments SET final_at = now(), lost_at = now() WHERE id = $1

-- name: rename
UPDATE payments SET known_hash = $2 WHERE id = $1 AND state = 'settled'

-- name: abandon
-- Claimed by a process that died before anything was sent: the payer was not charged and will not be.
UPDATE payments SET state = 'void', failure = 'abandoned', closed_at = now()
WHERE state = 'claimed' AND created_at < now() - $1::interval
RETURNING id
