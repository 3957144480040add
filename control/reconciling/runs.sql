-- name: take
-- A night is one run over all replicas; one whose process died is taken up by the next after two hours.
INSERT INTO reconciliations AS kept (id, day) VALUES ($1, $2)
ON CONFLICT (day) DO UPDATE SET started_at = now()
WHERE kept.finished_at IS NULL AND kept.started_at < now() - interval '2 hours'
RETURNING id

-- name: begin
INSERT INTO reconciliations (id) VALUES ($1)

-- name: finish
UPDATE reconciliations SET finished_at = now(), results = $2, differences = $3, obstacles = $4 WHERE id = $1

-- name: latest
-- Before the first one, since when there is anything to compare.
SELECT extract(epoch FROM now() - coalesce(finished_at, created_at))::bigint AS age_seconds,
    coalesce(differences, 0) AS differences, coalesce(obstacles, 0) AS obstacles
FROM organizations LEFT JOIN LATERAL (
    SELECT finished_at, differences, obstacles FROM reconciliations
    WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1
) AS latest ON true
WHERE organizations.id = '00000000-0000-7000-8000-000000000000'

-- name: prune
DELETE FROM reconciliations WHERE started_at < now() - interval '1 year'
