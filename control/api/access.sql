-- name: find_actor
-- Membership is joined, not remembered: whoever leaves an organization leaves their keys powerless.
SELECT api_keys.id, api_keys.organization_id, api_keys.user_id, api_keys.mode, api_keys.scopes, members.role
FROM api_keys
JOIN members ON members.organization_id = api_keys.organization_id AND members.user_id = api_keys.user_id
JOIN organizations ON organizations.id = api_keys.organization_id
WHERE api_keys.hash = $1
  AND api_keys.revoked_at IS NULL
  AND (api_keys.expires_at IS NULL OR api_keys.expires_at > now())
  AND organizations.deleted_at IS NULL
