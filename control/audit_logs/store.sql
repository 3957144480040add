-- part: columns
id, created_at, organization_id, actor_id, actor_type, action, action_category, resource_type, resource_id,
    status, error_message, ip_address, user_agent, request_id, metadata

-- part: filtered
organization_id = $1
    AND ($2::uuid IS NULL OR actor_id = $2) AND ($3::text IS NULL OR action = $3)
    AND ($4::text IS NULL OR resource_type = $4) AND ($5::uuid IS NULL OR resource_id = $5)
    AND ($6::text IS NULL OR status = $6) AND ($7::text IS NULL OR action_category = $7)
    AND ($8::timestamptz IS NULL OR created_at >= $8) AND ($9::timestamptz IS NULL OR created_at < $9)

-- name: page
SELECT {columns}
FROM audit_logs
WHERE {filtered}
    AND ($10::uuid IS NULL OR id < $10)
ORDER BY id DESC
LIMIT $11 OFFSET $12

-- name: count
SELECT count(*)
FROM audit_logs
WHERE {filtered}

-- name: get
SELECT {columns}
FROM audit_logs
WHERE organization_id = $1 AND id = $2
