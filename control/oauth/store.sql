-- name: providers
-- The organization's own, the platform's, and those that a publisher wants of its callers.
SELECT id, nullif(organization_id, $2) AS organization_id, slug, name, description, logo_url, scopes,
    custom_auth_params, is_active, created_at
FROM oauth_providers
WHERE is_active AND organization_id IN ($1, $2)
ORDER BY slug, id

-- name: provider
-- By id whatever a publisher wants of its callers, whoever's it is; by slug the organization's own before the platform's.
SELECT * FROM oauth_providers
WHERE is_active AND (
    ($3::uuid IS NULL AND slug = $4 AND organization_id IN ($1, $2))
    OR (id = $3 AND (organization_id IN ($1, $2) OR EXISTS (
        SELECT FROM publishers
        WHERE deleted_at IS NULL AND is_active AND details->>'oauth_provider_id' = oauth_providers.id::text
            AND details->'requires_user_oauth' = 'true'))))
ORDER BY organization_id = $1 DESC LIMIT 1

-- name: begin
INSERT INTO oauth_states (id, hash, provider_id, organization_id, user_id, callback, redirect_uri, verifier_sealed)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: find_state
SELECT oauth_states.*, issuer FROM oauth_states JOIN oauth_providers ON oauth_providers.id = provider_id
WHERE hash = $1 AND callback = $2 AND oauth_states.created_at > now() - interval '10 minutes' AND code_sealed IS NULL

-- name: take
-- Single use: the second to come finds nothing.
DELETE FROM oauth_states WHERE id = $1 AND code_sealed IS NULL RETURNING id

-- name: park
UPDATE oauth_states SET code_sealed = $2, confirmation_hash = $3 WHERE id = $1 AND code_sealed IS NULL RETURNING id

-- name: confirm
DELETE FROM oauth_states
WHERE confirmation_hash = $1 AND organization_id = $2 AND user_id = $3
    AND created_at > now() - interval '10 minutes'
RETURNING *

-- name: prune
DELETE FROM oauth_states WHERE created_at < now() - interval '10 minutes'

-- name: connections
SELECT oauth_connections.id, provider_id, slug AS provider_slug, name AS provider_name, logo_url AS provider_logo_url,
    provider_user_id, provider_email, oauth_connections.scopes, is_valid AND is_active AS is_valid, expires_at,
    oauth_connections.created_at
FROM oauth_connections JOIN oauth_providers ON oauth_providers.id = provider_id
WHERE oauth_connections.organization_id = $1 AND user_id = $2
ORDER BY oauth_connections.id

-- name: provider_by_id
SELECT * FROM oauth_providers WHERE id = $1
