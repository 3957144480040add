-- name: enqueue
INSERT INTO operations (id, project_id, branch_id, endpoint_id, action, arguments, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: lease
-- Those of one branch run in the order in which they were asked for, and one for the whole project runs alone.
WITH chosen AS (
    SELECT id FROM operations AS waiting
    WHERE status IN ('scheduling', 'running') AND due_at <= now() AND (leased_until IS NULL OR leased_until <= now())
        AND NOT EXISTS (
            SELECT FROM operations AS earlier
            WHERE earlier.project_id = waiting.project_id AND earlier.number < waiting.number
                AND earlier.status IN ('scheduling', 'running')
                AND (earlier.branch_id = waiting.branch_id OR earlier.branch_id IS NULL OR waiting.branch_id IS NULL))
    ORDER BY number LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE operations SET status = 'running', lease_id = $2, leased_until = now() + $3,
    started_at = coalesce(started_at, now()), updated_at = now()
FROM chosen WHERE operations.id = chosen.id
RETURNING operations.id, project_id, branch_id, endpoint_id, action, arguments, failures_count, created_by, created_at,
    lease_id

-- name: renew
UPDATE operations SET leased_until = now() + $3 WHERE id = $1 AND lease_id = $2 AND status = 'running' RETURNING id

-- name: finish
UPDATE operations SET status = 'finished', finished_at = now(), updated_at = now(), leased_until = NULL, error = NULL
WHERE id = $1 AND lease_id = $2 AND status = 'running'
RETURNING id

-- name: postpone
UPDATE operations SET status = 'scheduling', leased_until = NULL, due_at = now() + $3, updated_at = now(),
    failures_count = failures_count + $4, error = coalesce($5, error)
WHERE id = $1 AND lease_id = $2 AND status = 'running'
RETURNING id

-- name: fail
UPDATE operations SET status = 'failed', finished_at = now(), updated_at = now(), leased_until = NULL, error = $3,
    failures_count = failures_count + 1
WHERE id = $1 AND lease_id = $2 AND status = 'running'
RETURNING id

-- name: cancel
-- What nobody has begun and nobody wants any more.
UPDATE operations SET status = 'cancelled', finished_at = now(), updated_at = now()
WHERE project_id = $1 AND ($2::uuid IS NULL OR branch_id = $2) AND status = 'scheduling' AND started_at IS NULL

-- name: count
SELECT count(*) FROM operations WHERE project_id = $1

-- name: page
SELECT id, project_id, branch_id, endpoint_id, action, status, failures_count, error, created_at, started_at, finished_at,
    updated_at
FROM operations WHERE project_id = $1
ORDER BY number DESC LIMIT $2 OFFSET $3

-- name: show
SELECT id, project_id, branch_id, endpoint_id, action, status, failures_count, error, created_at, started_at, finished_at,
    updated_at
FROM operations WHERE project_id = $1 AND id = $2

-- name: open
SELECT count(*) AS count, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age_seconds
FROM operations WHERE status IN ('scheduling', 'running')

-- name: is_open
SELECT EXISTS (SELECT FROM operations WHERE branch_id = $1 AND action = ANY ($2) AND status IN ('scheduling', 'running'))
