-- name: find
SELECT oauth_connections.id, oauth_connections.organization_id, access_sealed, refresh_sealed,
    coalesce(expires_at < now() + interval '30 seconds', false) AS is_stale,
    coalesce(expires_at < now(), false) AS is_over,
    oauth_providers.id AS provider_id, oauth_providers.organization_id AS provider_owner_id, token_url, client_id,
    secret_sealed, token_endpoint_auth_method AS method
FROM oauth_connections JOIN oauth_providers ON oauth_providers.id = provider_id
WHERE provider_id = $1 AND oauth_connections.organization_id = $2 AND user_id = $3 AND is_valid AND is_active

-- name: take_refresh
UPDATE oauth_connections SET refreshing_until = now() + interval '15 seconds'
WHERE id = $1 AND access_sealed = $2 AND coalesce(refreshing_until <= now(), true)
RETURNING id

-- name: refreshed
UPDATE oauth_connections SET access_sealed = $2, refresh_sealed = coalesce($3, refresh_sealed),
    expires_at = now() + $4, refreshing_until = NULL
WHERE id = $1

-- name: not_refreshed
UPDATE oauth_connections SET refreshing_until = NULL, is_valid = is_valid AND NOT $2 WHERE id = $1

-- name: save
INSERT INTO oauth_connections (id, provider_id, organization_id, user_id, access_sealed, refresh_sealed, expires_at,
    scopes, provider_user_id, provider_email)
VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval, $8, $9, $10)

-- name: sealed_ids
SELECT id FROM oauth_connections

-- name: lock
SELECT organization_id, access_sealed, refresh_sealed FROM oauth_connections WHERE id = $1 FOR NO KEY UPDATE

-- name: replace
UPDATE oauth_connections SET access_sealed = $2, refresh_sealed = $3 WHERE id = $1

-- name: delete_at
DELETE FROM oauth_connections
WHERE organization_id = $1 AND user_id = $2 AND provider_id = $3
RETURNING id, provider_id, access_sealed, refresh_sealed

-- name: delete_named
-- By its own id, or by its provider's slug: the organization's own provider goes before others with that slug, as it does
-- for whoever connects. $5 is the platform.
DELETE FROM oauth_connections WHERE id = (
    SELECT made.id
    FROM oauth_connections AS made JOIN oauth_providers AS provider ON provider.id = made.provider_id
    WHERE made.organization_id = $1 AND made.user_id = $2 AND (made.id = $3 OR provider.slug = $4)
    ORDER BY made.id IS NOT DISTINCT FROM $3 DESC, provider.organization_id = $1 DESC,
        provider.organization_id = $5 DESC, made.id
    LIMIT 1
)
RETURNING id, provider_id, access_sealed, refresh_sealed

-- name: forget
DELETE FROM oauth_connections WHERE provider_id = $1
