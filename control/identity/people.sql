-- name: create
WITH someone AS (
    INSERT INTO users (id, kind, name, email) VALUES ($1, $2, $3, $4)
    ON CONFLICT (lower(email)) WHERE kind = 'person' DO NOTHING
    RETURNING id, name, created_at
), home AS (
    INSERT INTO organizations (id, name, slug, created_by, is_personal)
    SELECT $5, someone.name, $6, someone.id, true FROM someone
    RETURNING id
), membership AS (
    INSERT INTO members (organization_id, user_id, role)
    SELECT home.id, someone.id, 'owner' FROM home, someone
)
SELECT created_at FROM someone

-- name: find
SELECT users.id, kind, name, email, email_verified_at, password_hash, avatar, users.created_at, updated_at,
       last_sign_in_at, users.suspended_at, home_of(users.id) AS organization_id
FROM users
WHERE users.id = $1

-- name: find_by_email
SELECT users.id, kind, name, email, email_verified_at, password_hash, avatar, users.created_at, updated_at,
       last_sign_in_at, users.suspended_at, home_of(users.id) AS organization_id
FROM users
WHERE lower(users.email) = $1 AND kind = 'person'

-- name: lock
SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE

-- name: verify
UPDATE users
SET email_verified_at = now(), updated_at = now(),
    name = coalesce($2, name), password_hash = coalesce($3, password_hash)
WHERE id = $1 AND email_verified_at IS NULL
RETURNING id

-- name: set_password
UPDATE users
SET password_hash = $2, updated_at = now(),
    email_verified_at = CASE WHEN $3 THEN coalesce(email_verified_at, now()) ELSE email_verified_at END
WHERE id = $1

-- name: rehash
UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2

-- name: rename
UPDATE users SET name = $2, updated_at = now() WHERE id = $1

-- name: set_avatar
UPDATE users SET avatar = $2, updated_at = now() WHERE id = $1

-- name: give_login
UPDATE users
SET email = $2, password_hash = $3, email_verified_at = now(), updated_at = now()
WHERE id = $1 AND password_hash IS NULL
RETURNING id

-- name: suspend
-- Neither the operator, nor whoever asks.
UPDATE users
SET suspended_at = CASE WHEN $2 THEN coalesce(suspended_at, now()) END, updated_at = now()
WHERE id = $1 AND id <> $3 AND id <> '00000000-0000-7000-8000-000000000000'
RETURNING id
