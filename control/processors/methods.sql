-- name: customer
SELECT provider_id FROM processor_customers WHERE organization_id = $1 AND provider = $2 AND mode = $3

-- name: keep_customer
-- Two requests at once were given the same customer: they asked with the same idempotency key.
INSERT INTO processor_customers (organization_id, provider, mode, provider_id) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING

-- name: index
SELECT * FROM payment_methods
WHERE organization_id = $1 AND mode = $2 AND deleted_at IS NULL
ORDER BY is_default DESC, created_at, id

-- name: hurry
-- Of one organization one after the other: only one card is the default.
SELECT pg_advisory_xact_lock(hashtextextended('payment_methods ' || $1::uuid::text, 0))

-- name: clear_default
UPDATE payment_methods SET is_default = false WHERE organization_id = $1 AND mode = $2 AND is_default

-- name: keep
-- The first card is the default, whatever was asked.
INSERT INTO payment_methods
    (id, organization_id, provider, mode, provider_id, type, brand, last4, exp_month, exp_year, fingerprint, is_default)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 OR NOT EXISTS (
    SELECT FROM payment_methods WHERE organization_id = $2 AND mode = $4 AND deleted_at IS NULL)
ON CONFLICT (provider, provider_id) WHERE deleted_at IS NULL DO UPDATE
SET brand = excluded.brand, last4 = excluded.last4, exp_month = excluded.exp_month, exp_year = excluded.exp_year,
    is_default = payment_methods.is_default OR $12
WHERE payment_methods.organization_id = $2
RETURNING id

-- name: remove
UPDATE payment_methods SET deleted_at = now(), is_default = false
WHERE id = $1 AND organization_id = $2 AND mode = $3 AND deleted_at IS NULL
RETURNING id

-- name: next_default
UPDATE payment_methods SET is_default = true
WHERE id = (SELECT id FROM payment_methods WHERE organization_id = $1 AND mode = $2 AND deleted_at IS NULL
            ORDER BY created_at, id LIMIT 1)
  AND NOT EXISTS (SELECT FROM payment_methods WHERE organization_id = $1 AND mode = $2 AND is_default)

-- name: undetached
SELECT id, provider_id FROM payment_methods
WHERE deleted_at IS NOT NULL AND detached_at IS NULL AND provider = $1 AND mode = $2
  -- Whoever added it again meanwhile keeps it.
  AND NOT EXISTS (SELECT FROM payment_methods AS again
                  WHERE again.provider_id = payment_methods.provider_id AND again.deleted_at IS NULL)
ORDER BY deleted_at LIMIT 20

-- name: detached
UPDATE payment_methods SET detached_at = now() WHERE id = $1

-- name: by_provider_id
SELECT organization_id, mode FROM payment_methods
WHERE provider = $1 AND provider_id = $2 AND deleted_at IS NULL

-- name: gone
UPDATE payment_methods SET deleted_at = now(), detached_at = now(), is_default = false
WHERE provider = $1 AND provider_id = $2 AND deleted_at IS NULL

-- name: renewed
UPDATE payment_methods SET brand = $3, last4 = $4, exp_month = $5, exp_year = $6
WHERE provider = $1 AND provider_id = $2 AND deleted_at IS NULL
