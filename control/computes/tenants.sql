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
