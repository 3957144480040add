-- name: insert
-- Whoever comes second under a key waits here for the first to commit, and then finds the key taken.
INSERT INTO payouts (id, publisher_id, organization_id, asset_id, amount, destination, description,
    idempotency_key, digest, is_manual, earned_before)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE WHEN $11::interval > interval '0' THEN now() - $11 END)
ON CONFLICT (publisher_id, idempotency_key) DO NOTHING
RETURNING id

-- name: available
-- What is earned, less what the organization earned with promotional money from itself or from one of the same people:
-- whoever was given it never has it paid out. And less what a bank took back of its deposits after it had spent them. What
-- calls and charges earned since the first young id is not payable yet, less what of just these was refunded or paid out
-- at once; a refund of older ones is the older ones' loss. No id is young where no age is asked for.
WITH age AS (
    SELECT CASE WHEN $3::interval > interval '0' THEN first_id_at(now() - $3)
        ELSE 'ffffffff-ffff-ffff-ffff-ffffffffffff' END AS first_young
), own AS (
    SELECT $1::uuid AS id
    UNION
    SELECT other.id FROM organizations JOIN organizations AS other ON other.created_by = organizations.created_by
    WHERE organizations.id = $1
    UNION
    SELECT theirs.organization_id FROM members JOIN members AS theirs ON theirs.user_id = members.user_id
    WHERE members.organization_id = $1
)
SELECT earnings.posted - earnings.held - coalesce((
    -- Of each charge what its refunds left of it: they give the payer's own money back first, so their shares differ.
    SELECT sum(greatest(least(given, got), 0)) FROM (
        SELECT -sum(given.amount) AS given, sum(got.amount) AS got
        FROM own JOIN accounts AS promotional ON promotional.owner_id = own.id
            JOIN entries AS given ON given.account_id = promotional.id
            JOIN entries AS got ON got.transfer_id = given.transfer_id AND got.account_id = earnings.id
            JOIN transfers ON transfers.id = given.transfer_id
            LEFT JOIN charge_changes ON charge_changes.id = cause_id AND charge_changes.kind = 'refund'
        WHERE promotional.asset_id = $2 AND promotional.kind = 'promotional'
        GROUP BY coalesce(charge_id, cause_id)
        -- What is too young is taken off once, below.
        HAVING bool_or(given.transfer_id < first_young)
    ) AS gifts
), 0) - coalesce((
    SELECT sum(entries.amount) FROM entries JOIN transfers ON transfers.id = transfer_id
    WHERE account_id = earnings.id AND transfer_id >= first_young AND (transfers.kind IN ('charge', 'slash', 'payout')
        OR transfers.kind = 'refund' AND EXISTS (
            SELECT FROM charge_changes WHERE charge_changes.id = cause_id AND charge_id >= first_young))
), 0) - coalesce((
    SELECT sum(owed) FROM card_reversals JOIN card_payments ON card_payments.id = payment_id
    WHERE organization_id = $1 AND asset_id = $2 AND (booked_as = 'deposit' OR is_of_balance) AND owed > 0
), 0) - coalesce((
    -- What was paid by a card that was taken back is not paid out to the same people by way of their other organization.
    SELECT sum(least(debts.owed, paid.amount)) FROM (
        SELECT own.id, sum(owed) AS owed FROM own JOIN card_payments ON organization_id = own.id
            JOIN card_reversals ON payment_id = card_payments.id
        WHERE own.id <> $1 AND asset_id = $2 AND (booked_as = 'deposit' OR is_of_balance) AND owed > 0 GROUP BY own.id
    ) AS debts CROSS JOIN LATERAL (
        SELECT greatest(sum(got.amount), 0) AS amount
        FROM accounts AS funded JOIN entries AS given ON given.account_id = funded.id
            JOIN entries AS got ON got.transfer_id = given.transfer_id AND got.account_id = earnings.id
        WHERE funded.owner_id = debts.id AND funded.asset_id = $2 AND funded.kind = 'funded'
            AND given.transfer_id < first_young
    ) AS paid
), 0)
FROM accounts AS earnings CROSS JOIN age
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
