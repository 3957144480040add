-- name: payer
SELECT organization_id FROM agent_wallets JOIN organizations ON organizations.id = organization_id
WHERE address = $1 AND deleted_at IS NULL AND suspended_at IS NULL

-- name: accepted
SELECT assets.id, assets.decimals
FROM publisher_prices JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND mode = $2 AND is_prepaid_enabled
ORDER BY position

-- name: insert
-- Whoever comes second under a key waits here for the first to commit, and then finds the key taken.
INSERT INTO charges (id, publisher_id, payer_id, agent_wallet, asset_id, amount, fee, description, idempotency_key, digest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (publisher_id, idempotency_key) DO NOTHING
RETURNING id

-- name: named
SELECT charges.id, publisher_id, payer_id, agent_wallet, asset_id, decimals, mode, amount, fee, refunded, slashed,
    description, digest, charges.created_at
FROM charges JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND idempotency_key = $2

-- name: find
SELECT charges.id, publisher_id, payer_id, agent_wallet, asset_id, decimals, mode, amount, fee, refunded, slashed,
    description, digest, charges.created_at
FROM charges JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND charges.id = $2 AND mode = $3

-- name: lock
SELECT charges.id, publisher_id, payer_id, agent_wallet, asset_id, decimals, mode, amount, fee, refunded, slashed,
    description, digest, charges.created_at
FROM charges JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND charges.id = $2 AND mode = $3
FOR UPDATE OF charges

-- name: refund
-- A CHECK keeps the sum within the charge.
WITH added AS (
    INSERT INTO charge_changes (id, charge_id, kind, amount, reason) VALUES ($2, $1, 'refund', $3, $4)
)
UPDATE charges SET refunded = refunded + $3 WHERE id = $1

-- name: slash
WITH added AS (
    INSERT INTO charge_changes (id, charge_id, kind, amount, reason) VALUES ($2, $1, 'slash', $3, $4)
)
UPDATE charges SET slashed = slashed + $3 WHERE id = $1
