-- name: expired
-- Not while somebody needs it: it goes when the last of its children has gone.
SELECT branches.id, project_id FROM branches
WHERE expires_at <= now() AND deleted_at IS NULL AND NOT is_default AND NOT is_protected
    AND NOT EXISTS (SELECT FROM branches AS children WHERE children.parent_branch_id = branches.id AND children.deleted_at IS NULL)
    AND NOT EXISTS (
        SELECT FROM operations WHERE branch_id = branches.id AND operations.status IN ('scheduling', 'running'))
ORDER BY expires_at LIMIT $1

-- name: take_expired
-- Looked at again under the project's lock.
SELECT id FROM branches
WHERE id = $1 AND expires_at <= now() AND deleted_at IS NULL AND NOT is_default AND NOT is_protected
    AND NOT EXISTS (SELECT FROM branches AS children WHERE children.parent_branch_id = branches.id AND children.deleted_at IS NULL)

-- name: prune
-- What ended long ago, a bounded number at once.
DELETE FROM operations WHERE id IN (
    SELECT id FROM operations WHERE finished_at < now() - interval '90 days' ORDER BY finished_at LIMIT 1000)

-- name: settled_orphans
-- The oldest first. What was made a moment ago may be on its way into rows.
SELECT id FROM timelines WHERE id = ANY ($1::uuid[]) AND created_at < now() - interval '1 minute'
