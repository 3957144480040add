-- name: key
SELECT kind, scopes FROM api_keys WHERE id = $1
