-- name: make
INSERT INTO email_links (hash, kind, email, user_id, name, password_hash, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval)

-- name: use
UPDATE email_links SET used_at = now()
WHERE hash = $1 AND kind = $2 AND used_at IS NULL AND expires_at > now()
RETURNING user_id, name, password_hash

-- name: find
SELECT user_id, used_at IS NULL AND expires_at > now() AS is_open FROM email_links WHERE hash = $1 AND kind = $2

-- name: latest_claim
SELECT name, password_hash
FROM email_links
WHERE email = $1 AND password_hash IS NOT NULL AND used_at IS NULL AND expires_at > now()
ORDER BY created_at DESC
LIMIT 1

-- name: sole_claim
SELECT min(name) AS name, min(password_hash) AS password_hash
FROM email_links
WHERE email = $1 AND password_hash IS NOT NULL AND used_at IS NULL
HAVING count(DISTINCT password_hash) = 1

-- name: is_contested
SELECT EXISTS (
    SELECT FROM email_links WHERE email = $1 AND password_hash <> $2 AND used_at IS NULL
)

-- name: void
UPDATE email_links SET used_at = now() WHERE user_id = $1 AND used_at IS NULL

-- name: prune
-- What was claimed for an address contests later claims for a while yet.
DELETE FROM email_links WHERE hash IN (
    SELECT hash FROM email_links WHERE expires_at < now() - interval '7 days' ORDER BY expires_at LIMIT 1000
)
