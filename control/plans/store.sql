-- name: since
SELECT created_at FROM organizations WHERE id = $1
