-- name: put
INSERT INTO recoveries AS kept (user_id, organization_id, mode, fingerprint, email) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id) DO UPDATE SET email = coalesce(excluded.email, kept.email)
RETURNING fingerprint = $4 AS is_new, email IS NOT NULL AS has_email

-- name: take
-- The code before counts once more while nobody has used what it gave: then its answer never arrived.
SELECT recoveries.user_id, recoveries.organization_id, mode
FROM recoveries JOIN users ON users.id = user_id JOIN organizations ON organizations.id = organization_id
WHERE users.suspended_at IS NULL AND organizations.suspended_at IS NULL AND deleted_at IS NULL AND (
    fingerprint = $1 OR (
        previous = $1 AND recovered_at > now() - interval '10 minutes'
        AND NOT EXISTS (SELECT FROM key_uses WHERE key_uses.key_id = recoveries.key_id)
    )
)
FOR NO KEY UPDATE OF recoveries

-- name: rotate
UPDATE recoveries SET previous = $2, fingerprint = $3, key_id = $4, recovered_at = now() WHERE user_id = $1

-- name: is_own
SELECT EXISTS (SELECT FROM organizations WHERE id = $2 AND created_by = $1 AND is_personal)
