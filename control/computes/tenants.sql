-- All of it runs in the server of a branch, as its superuser.

-- name: has_role
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)

-- name: create_role
SELECT format('CREATE ROLE %I', $1::text)

-- name: grant_role
SELECT format('ALTER ROLE %I LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD %L', $1::text, $2::text)

-- name: has_database
SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)

-- name: create_database
SELECT format('CREATE DATABASE %I OWNER %I', $1::text, $2::text)

-- name: roles
-- As many as we keep, the oldest of them; names as bytes, since one that
-- was made in a database of another encoding is no text here.
SELECT namesend(rolname) AS name, rolpassword AS verifier, rolcanlogin AS can_login FROM pg_authid
WHERE rolname !~ '^pg_' AND rolname <> current_user
ORDER BY oid LIMIT 1000
