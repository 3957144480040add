-- name: insert
INSERT INTO audit_logs (id, organization_id, actor_id, actor_type, action, action_category, resource_type,
    resource_id, status, error_message, ip_address, user_agent, request_id, metadata)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
