-- name: deleted
-- Those whose data is still there, the newest first.
SELECT projects.id, projects.name, projects.slug, organizations.name AS organization, projects.deleted_at
FROM projects JOIN organizations ON organizations.id = organization_id
WHERE projects.deleted_at > now() - $1::interval AND organizations.deleted_at IS NULL
ORDER BY projects.deleted_at DESC LIMIT 1000

-- name: lock
SELECT projects.slug, organization_id, projects.deleted_at, organizations.deleted_at IS NOT NULL AS is_nobodys,
    coalesce(projects.deleted_at < now() - $2::interval, false) AS is_late
FROM projects JOIN organizations ON organizations.id = organization_id
WHERE projects.id = $1
FOR UPDATE OF projects

-- name: has_data
SELECT EXISTS (
    SELECT FROM branches JOIN timelines ON timelines.id = timeline_id
    WHERE branches.project_id = $1 AND branches.deleted_at = $2 AND is_default AND branches.state IN ('ready', 'swapping')
        AND timelines.state IN ('ready', 'archived'))

-- name: restore
UPDATE projects SET deleted_at = NULL, deleted_by = NULL, slug = $2, updated_at = now() WHERE id = $1
