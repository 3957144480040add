-- name: emit
INSERT INTO events (organization_id, type, payload, project_id) VALUES ($1, $2, $3, $4)

-- name: prune
-- What is still on its way to somebody stays; deliveries and their attempts go with their event.
DELETE FROM events WHERE id IN (
    SELECT id FROM events
    WHERE created_at < now() - $1::interval AND NOT EXISTS (
        SELECT FROM webhook_deliveries WHERE event_id = events.id AND state = 'waiting')
    ORDER BY created_at LIMIT 1000
)
