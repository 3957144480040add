-- name: timeline_of
SELECT timeline_id, state, projects.enable_logical_replication OR EXISTS (
        SELECT FROM replication_slots WHERE replication_slots.branch_id = branches.id AND slot_type = 'logical'
    ) AS is_logical
FROM branches JOIN projects ON projects.id = project_id
WHERE branches.id = $1 AND branches.deleted_at IS NULL

-- name: project_of
SELECT project_id FROM branches WHERE id = $1
