-- name: find
SELECT key_id, per_call, per_day, total, CASE WHEN day = today THEN spent_today ELSE 0 END AS spent_today, spent_total,
    (today + 1)::timestamp AT TIME ZONE 'UTC' AS resets_at
FROM key_caps, (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS clock
WHERE key_id = ANY ($1::uuid[])

-- name: lock
SELECT per_call, per_day, total FROM key_caps WHERE key_id = $1 FOR NO KEY UPDATE

-- name: put
-- What was spent goes on being counted, and a cap that is changed can be reached once more.
INSERT INTO key_caps AS old (key_id, per_call, per_day, total) VALUES ($1, $2, $3, $4)
ON CONFLICT (key_id) DO UPDATE SET
    per_call = excluded.per_call,
    per_day = excluded.per_day,
    total = excluded.total,
    day_near_on = CASE WHEN old.per_day = excluded.per_day THEN old.day_near_on END,
    day_reached_on = CASE WHEN old.per_day = excluded.per_day THEN old.day_reached_on END,
    is_total_near = old.is_total_near AND old.total IS NOT DISTINCT FROM excluded.total,
    is_total_reached = old.is_total_reached AND old.total IS NOT DISTINCT FROM excluded.total
