-- name: start
WITH started AS (
    INSERT INTO sessions (id, user_id, address, user_agent, cookie_hash, expires_at)
    VALUES ($1, $2, $3, $4, $5, now() + $6::interval)
    RETURNING id, expires_at
), token AS (
    INSERT INTO refresh_tokens (hash, session_id) SELECT $7, id FROM started
), seen AS (
    UPDATE users SET last_sign_in_at = now() WHERE id = $2
)
SELECT expires_at FROM started

-- name: rotate
-- Two at once: the second waits for the first and then finds the token used.
WITH used AS (
    UPDATE refresh_tokens SET used_at = now() FROM sessions
    WHERE refresh_tokens.hash = $1 AND used_at IS NULL
      AND sessions.id = refresh_tokens.session_id
      AND sessions.revoked_at IS NULL AND sessions.expires_at > now()
    RETURNING refresh_tokens.session_id
), renewed AS (
    UPDATE sessions
    SET last_active_at = now(), expires_at = least(now() + $3::interval, created_at + $4::interval)
    FROM used WHERE sessions.id = used.session_id AND revoked_at IS NULL
    RETURNING sessions.id, sessions.user_id, sessions.expires_at
), token AS (
    INSERT INTO refresh_tokens (hash, session_id) SELECT $2, id FROM renewed
)
SELECT id, user_id, expires_at FROM renewed

-- name: end_family
UPDATE sessions SET revoked_at = now()
FROM refresh_tokens
WHERE refresh_tokens.hash = $1 AND refresh_tokens.used_at IS NOT NULL
  AND sessions.id = refresh_tokens.session_id AND sessions.revoked_at IS NULL
RETURNING sessions.id, sessions.user_id, sessions.expires_at

-- name: revoke
UPDATE sessions SET revoked_at = now()
WHERE user_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > now()
RETURNING id

-- name: revoke_all
-- In one order, so that two of these at once wait and do not block each other.
WITH open AS (
    SELECT id FROM sessions
    WHERE user_id = $1 AND id IS DISTINCT FROM $2 AND revoked_at IS NULL AND expires_at > now()
    ORDER BY id
    FOR UPDATE
)
UPDATE sessions SET revoked_at = now() FROM open WHERE sessions.id = open.id
RETURNING sessions.id

-- name: touch
UPDATE sessions
SET last_active_at = now(),
    -- Only a browser's: it has nothing else to stay signed in by.
    expires_at = CASE WHEN cookie_hash IS NULL THEN expires_at
        ELSE least(now() + $2::interval, created_at + $3::interval) END
WHERE id = $1 AND last_active_at < now() - interval '1 minute'

-- name: prune
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions WHERE expires_at < now() - interval '30 days' ORDER BY expires_at LIMIT 1000
)

-- name: addresses_of
SELECT address FROM sessions WHERE user_id = $1 AND address IS NOT NULL ORDER BY id DESC LIMIT 200

-- name: open_of
SELECT id, user_agent, address, created_at, last_active_at, expires_at
FROM sessions
WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()
ORDER BY last_active_at DESC, id DESC

-- name: find
SELECT id, user_agent, address, created_at, last_active_at, expires_at
FROM sessions
WHERE user_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > now()
