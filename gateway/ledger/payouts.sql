-- name: insert
-- Whoever comes second under a key waits here for the first to commit, and then finds the key taken.
INSERT INTO payouts (id, publisher_id, organization_id, asset_id, amount, destination, description,
    idempotency_key, digest, is_manual)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (publisher_id, idempotency_key) DO NOTHING
RETURNING id

-- name: available
-- What is earned, less what the organization earned from itself with promotional money: that never pays out.
SELECT earnings.posted - earnings.held + coalesce((
    SELECT least(sum(sign(given.amount) * least(abs(given.amount), abs(got.amount))), 0)
    FROM accounts AS promotional
        JOIN entries AS given ON given.account_id = promotional.id
        JOIN entries AS got ON got.transfer_id = given.transfer_id AND got.account_id = earnings.id
    WHERE promotional.owner_id = $1 AND promotional.asset_id = $2 AND promotional.kind = 'promotional'
), 0)
FROM accounts AS earnings
WHERE earnings.owner_id = $1 AND earnings.asset_id = $2 AND earnings.kind = 'earnings'

-- name: of
SELECT payouts.id, publisher_id, organization_id, payouts.asset_id, assets.network, assets.address AS asset, decimals,
    mode, amount, destination, payouts.description, digest, is_manual, state, source, known_hash, reference, failure,
    doubt, payouts.created_at, coalesce(signed.hashes, '{}') AS hashes, signed.signer, signed.signer_nonce
FROM payouts JOIN assets ON assets.id = payouts.asset_id
CROSS JOIN LATERAL (
    SELECT array_agg(hash ORDER BY created_at DESC) AS hashes, min(signer) AS signer, min(nonce) AS signer_nonce
    FROM chain_transactions WHERE payment_id = payouts.id
) AS signed
WHERE payouts.id = ANY ($1::uuid[])
ORDER BY payouts.id

-- name: take_due
-- Nothing is signed for whom the operator has suspended; what was signed before is seen to its end.
UPDATE payouts SET asked_at = now() WHERE id IN (
    SELECT payouts.id FROM payouts JOIN assets ON assets.id = asset_id
        JOIN publishers ON publishers.id = publisher_id
        JOIN organizations ON organizations.id = payouts.organization_id
    WHERE assets.network = $1 AND NOT is_manual AND doubt IS NULL
        AND (state <> 'requested' OR coalesce(publishers.suspended_at, organizations.suspended_at) IS NULL) AND (
        (state IN ('requested', 'submitted') AND coalesce(asked_at, '-infinity') <= now() - $2::interval)
        OR (state = 'sent' AND final_at IS NULL AND coalesce(asked_at, '-infinity') <= now() - $3::interval))
    ORDER BY coalesce(asked_at, payouts.created_at) LIMIT $4
    FOR UPDATE OF payouts SKIP LOCKED
)
RETURNING id

-- name: lock
SELECT FROM payouts WHERE id = $1 FOR UPDATE

-- name: submit
UPDATE payouts SET state = 'submitted', source = $2 WHERE id = $1 AND state = 'requested' AND NOT is_manual
RETURNING id

-- name: close
UPDATE payouts SET state = $2, known_hash = coalesce($4, known_hash), reference = coalesce($5, reference),
    failure = $6, closed_at = now(), is_manual = is_manual OR $5 IS NOT NULL
WHERE id = $1 AND state = ANY ($3::text[])
RETURNING id

-- name: left_by
SELECT accounts.kind FROM transfers JOIN entries ON transfer_id = transfers.id JOIN accounts ON accounts.id = account_id
WHERE cause_id = $1 AND transfers.kind = 'payout' AND amount > 0

-- name: doubt
UPDATE payouts SET doubt = $2 WHERE id = $1

-- name: confirm
UPDATE payouts SET known_hash = $2, final_at = CASE WHEN $3 THEN now() END WHERE id = $1 AND state = 'sent'

-- name: under_way
SELECT coalesce(sum(amount), 0) FROM payouts WHERE asset_id = $1 AND source = $2 AND state = 'submitted'
