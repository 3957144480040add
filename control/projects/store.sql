-- part: columns
projects.id, projects.name, projects.slug, projects.organization_id, region, projects.created_by, projects.created_at,
    projects.updated_at, projects.deleted_at, deleted_by, block_public_connections, block_vpc_connections, hipaa,
    protected_branches_only, enable_logical_replication, compute_unit_min, compute_unit_max, history_retention_seconds,
    organizations.name AS org_name, organizations.is_personal AS org_personal,
    (
        SELECT tier FROM organization_plans AS chosen
        WHERE chosen.organization_id = projects.organization_id AND started_at <= now()
            AND (ends_at IS NULL OR ends_at > now())
    ) AS tier

-- part: facts
(SELECT id FROM branches WHERE project_id = projects.id AND is_default AND deleted_at IS NULL) AS default_branch_id,
    (SELECT count(*)::int FROM branches WHERE project_id = projects.id AND deleted_at IS NULL) AS branch_count,
    (
        SELECT coalesce(sum(logical_bytes + history_bytes), 0)::bigint FROM timelines
        WHERE project_id = projects.id AND state IN ('ready', 'archived')
    ) AS storage_bytes,
    (SELECT max(postgres_version) FROM timelines WHERE project_id = projects.id AND state = 'ready') AS postgres_version,
    (
        SELECT coalesce(sum(active_milliseconds + coalesce(extract(epoch FROM now() - active_since) * 1000, 0)), 0)::float8 / 1000
        FROM endpoints WHERE project_id = projects.id
    ) AS active_time_seconds,
    (SELECT max(last_active_at) FROM endpoints WHERE project_id = projects.id) AS compute_last_active_at

-- name: insert
INSERT INTO projects (id, organization_id, name, slug, region, created_by)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (slug) WHERE deleted_at IS NULL DO NOTHING
RETURNING id, slug

-- name: show
SELECT {columns},
    {facts}
FROM projects JOIN organizations ON organizations.id = organization_id
WHERE projects.id = $1

-- name: page
SELECT {columns},
    {facts}
FROM projects JOIN organizations ON organizations.id = organization_id
WHERE organization_id = $1 AND projects.deleted_at IS NULL
ORDER BY projects.id
LIMIT $2 OFFSET $3

-- name: count
SELECT count(*) FROM projects WHERE organization_id = $1 AND deleted_at IS NULL

-- name: seen_by
-- Those of every organization where a role lets the user see them, and those they were invited to.
SELECT {columns}
FROM projects
JOIN organizations ON organizations.id = projects.organization_id
LEFT JOIN members ON members.organization_id = organizations.id AND members.user_id = $1
LEFT JOIN roles ON roles.id = members.role_id
LEFT JOIN project_members ON project_members.project_id = projects.id AND project_members.user_id = $1
WHERE projects.deleted_at IS NULL AND organizations.deleted_at IS NULL AND organizations.suspended_at IS NULL
    AND (members.role IS NOT NULL OR 'projects.read' = ANY (roles.permissions) OR project_members.user_id IS NOT NULL)
ORDER BY projects.id DESC
LIMIT 1000

-- name: lock
SELECT name, slug, organization_id, block_public_connections, block_vpc_connections, hipaa, protected_branches_only,
    enable_logical_replication, compute_unit_min, compute_unit_max, history_retention_seconds
FROM projects
WHERE id = $1 AND deleted_at IS NULL
FOR UPDATE

-- name: update
UPDATE projects
SET name = $2, slug = $3, organization_id = $4, block_public_connections = $5, block_vpc_connections = $6, hipaa = $7,
    protected_branches_only = $8, enable_logical_replication = $9, compute_unit_min = $10, compute_unit_max = $11,
    history_retention_seconds = $12, updated_at = now()
WHERE id = $1

-- name: delete
UPDATE projects SET deleted_at = now(), deleted_by = $2, updated_at = now()
WHERE id = $1 AND deleted_at IS NULL
RETURNING id, deleted_at

-- name: kept
-- Deleted ones of an organization whose data is there and not to be thrown away yet, the newest first.
SELECT projects.id, projects.name, projects.slug, projects.deleted_at,
    sum(logical_bytes + history_bytes)::bigint AS bytes
FROM projects JOIN timelines ON timelines.project_id = projects.id AND timelines.state <> 'deleted'
WHERE organization_id = $1 AND projects.deleted_at > now() - $2::interval AND purged_at IS NULL
GROUP BY projects.id
ORDER BY projects.deleted_at DESC LIMIT 1000

-- name: stored
-- With what deleted ones keep, and what is to be thrown away and is not yet.
SELECT coalesce(sum(logical_bytes + history_bytes), 0)::bigint
FROM projects JOIN timelines ON timelines.project_id = projects.id
WHERE organization_id = $1 AND timelines.state IN ('ready', 'archived')

-- name: purge
UPDATE projects SET purged_at = now(), updated_at = now()
WHERE id = $1 AND ($2::uuid IS NULL OR organization_id = $2) AND deleted_at IS NOT NULL AND purged_at IS NULL
    AND EXISTS (SELECT FROM timelines WHERE timelines.project_id = projects.id AND timelines.state <> 'deleted')
RETURNING organization_id, slug

-- name: size
SELECT coalesce(sum(logical_bytes + history_bytes), 0)::bigint FROM timelines
WHERE project_id = $1 AND state IN ('ready', 'archived')

-- name: deleted
-- Those whose data is still there, the newest first.
SELECT projects.id, projects.name, projects.slug, organizations.name AS organization, projects.deleted_at
FROM projects JOIN organizations ON organizations.id = organization_id
WHERE projects.deleted_at > now() - $1::interval AND purged_at IS NULL AND organizations.deleted_at IS NULL
ORDER BY projects.deleted_at DESC LIMIT 1000

-- name: lock_deleted
SELECT projects.slug, organization_id, projects.deleted_at, organizations.deleted_at IS NOT NULL AS is_nobodys,
    coalesce(projects.deleted_at < now() - $2::interval, false) AS is_late, purged_at IS NOT NULL AS is_purged
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
