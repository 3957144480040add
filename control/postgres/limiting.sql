-- name: stored
-- What each project keeps now, and its organization in all: with what deleted ones keep, which takes the same disk.
SELECT id, organization_id, plan_id, bytes, total FROM (
    SELECT projects.id, projects.organization_id, projects.deleted_at, chosen.plan_id, coalesce(kept.bytes, 0)::bigint AS bytes,
        (sum(coalesce(kept.bytes, 0)) OVER (PARTITION BY projects.organization_id))::bigint AS total
    FROM projects
    LEFT JOIN (
        SELECT project_id, sum(logical_bytes + history_bytes) AS bytes FROM timelines
        WHERE state IN ('ready', 'archived') GROUP BY project_id
    ) AS kept ON kept.project_id = projects.id
    LEFT JOIN organization_plans AS chosen ON chosen.organization_id = projects.organization_id
        AND chosen.started_at <= now() AND (chosen.ends_at IS NULL OR chosen.ends_at > now())
    WHERE CASE WHEN deleted_at IS NULL THEN EXISTS (SELECT FROM timelines WHERE project_id = projects.id)
        ELSE kept.bytes > 0 END
) AS found
WHERE deleted_at IS NULL
ORDER BY organization_id, id
