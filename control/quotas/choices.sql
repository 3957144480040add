-- name: current
SELECT id, organization_id, plan_id, price_cents, started_at, ends_at, cancelled_at, cancelled_by, created_at, updated_at,
    subscription_id,
    (SELECT plan_id FROM organization_plans AS later WHERE later.organization_id = $1 AND later.started_at > $2) AS next_plan_id
FROM organization_plans
WHERE organization_id = $1 AND started_at <= $2 AND (ends_at IS NULL OR ends_at > $2)

-- name: forget_later
DELETE FROM organization_plans WHERE organization_id = $1 AND started_at > $2

-- name: keep
UPDATE organization_plans SET ends_at = NULL, cancelled_at = NULL, cancelled_by = NULL, updated_at = now()
WHERE id = $1 AND ends_at IS NOT NULL
RETURNING id

-- name: end
UPDATE organization_plans SET ends_at = $2, cancelled_at = now(), cancelled_by = $3, updated_at = now() WHERE id = $1

-- name: insert
INSERT INTO organization_plans (id, organization_id, plan_id, tier, plan_name, price_cents, started_at, subscription_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
