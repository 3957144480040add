-- name: lock
-- As for quotas, so that nobody changes the plan meanwhile.
SELECT id, deleted_at FROM organizations WHERE id = $1 FOR NO KEY UPDATE

-- name: owner
SELECT organization_id FROM polar_subscriptions WHERE id = $1

-- name: keep
-- What is older than what is known is not news: two who asked at once may come in any order.
INSERT INTO polar_subscriptions
    (id, organization_id, created_by, customer_id, product_id, tier, status, current_period_end, canceled_at, modified_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (id) DO UPDATE SET customer_id = excluded.customer_id, product_id = excluded.product_id,
    tier = coalesce(excluded.tier, polar_subscriptions.tier), status = excluded.status,
    current_period_end = excluded.current_period_end, canceled_at = excluded.canceled_at,
    modified_at = excluded.modified_at, looked_at = now()
WHERE polar_subscriptions.modified_at <= excluded.modified_at
RETURNING id

-- name: holding
SELECT id, tier FROM polar_subscriptions
WHERE organization_id = $1 AND status IN ('trialing', 'active')
ORDER BY created_at, id

-- name: unended
-- Even one whose payment failed: Polar tries it again, and a second one would be paid beside it.
SELECT id FROM polar_subscriptions
WHERE organization_id = $1 AND status NOT IN ('incomplete', 'canceled')
LIMIT 1

-- name: doubtful
-- Beyond its end without news, which may have been lost; or of an organization that is gone, and paid for still.
UPDATE polar_subscriptions SET looked_at = now()
FROM organizations
WHERE organizations.id = organization_id AND polar_subscriptions.id IN (
    SELECT one.id FROM polar_subscriptions AS one JOIN organizations AS its ON its.id = one.organization_id
    WHERE status <> 'canceled' AND (
        (current_period_end < now() - interval '1 hour' AND looked_at < now() - interval '1 hour')
        OR (its.deleted_at IS NOT NULL AND looked_at < now() - interval '5 minutes')
    )
    ORDER BY looked_at LIMIT 10 FOR UPDATE OF one SKIP LOCKED
)
RETURNING polar_subscriptions.id, organizations.deleted_at IS NOT NULL AS is_gone
