-- name: list
SELECT * FROM oauth_providers WHERE organization_id = $1 ORDER BY id

-- name: get
SELECT * FROM oauth_providers WHERE organization_id = $1 AND id = $2

-- name: lock
SELECT * FROM oauth_providers WHERE organization_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: lock_organization
-- Whoever registers another provider at the same time waits for this transaction.
SELECT FROM organizations WHERE id = $1 FOR NO KEY UPDATE

-- name: count
SELECT count(*) FROM oauth_providers WHERE organization_id = $1

-- name: insert
INSERT INTO oauth_providers (id, organization_id, slug, name, description, logo_url, authorization_url, token_url,
    revocation_url, userinfo_url, client_id, secret_sealed, scopes, custom_auth_params, pkce_required,
    token_endpoint_auth_method, issuer)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (organization_id, slug) DO NOTHING
RETURNING id

-- name: update
UPDATE oauth_providers SET slug = $2, name = $3, description = $4, logo_url = $5, authorization_url = $6,
    token_url = $7, revocation_url = $8, userinfo_url = $9, client_id = $10, secret_sealed = $11, scopes = $12,
    custom_auth_params = $13, pkce_required = $14, token_endpoint_auth_method = $15, issuer = $16, is_active = $17,
    updated_at = now()
WHERE id = $1

-- name: is_used
SELECT EXISTS (
    SELECT FROM publishers
    WHERE deleted_at IS NULL AND details->>'oauth_provider_id' = $1::text AND details->'requires_user_oauth' = 'true')

-- name: delete
DELETE FROM oauth_providers WHERE organization_id = $1 AND id = $2 RETURNING id

-- name: sealed_ids
SELECT id FROM oauth_providers

-- name: lock_sealed
SELECT organization_id, secret_sealed FROM oauth_providers WHERE id = $1 FOR NO KEY UPDATE

-- name: reseal
UPDATE oauth_providers SET secret_sealed = $2 WHERE id = $1
