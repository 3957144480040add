-- name: find_key
SELECT api_keys.id, organization_id, user_id, mode, scopes, project_id, project_role,
    coalesce(num_nonnulls(per_call, per_day, total) > 0, false) AS is_capped
FROM api_keys JOIN users ON users.id = api_keys.user_id LEFT JOIN key_caps ON key_id = api_keys.id
WHERE hash = $1 AND users.suspended_at IS NULL
  AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > now())

-- name: find_session
SELECT sessions.id, sessions.user_id, home.organization_id
FROM sessions
JOIN users ON users.id = sessions.user_id
CROSS JOIN LATERAL home_of(users.id) AS home (organization_id)
WHERE sessions.id = $1 AND sessions.user_id = $2
  AND sessions.revoked_at IS NULL AND sessions.expires_at > now() AND users.suspended_at IS NULL
  AND home.organization_id IS NOT NULL

-- name: find_browser
SELECT sessions.id, sessions.user_id, home.organization_id,
       sessions.last_active_at < now() - interval '1 minute' AS is_stale
FROM sessions
JOIN users ON users.id = sessions.user_id
CROSS JOIN LATERAL home_of(users.id) AS home (organization_id)
WHERE sessions.cookie_hash = $1
  AND sessions.revoked_at IS NULL AND sessions.expires_at > now() AND users.suspended_at IS NULL
  AND home.organization_id IS NOT NULL
