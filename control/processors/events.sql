-- name: store
-- Whoever is told the same at the same moment waits for this row, and writes no second one.
INSERT INTO payment_events (id, provider, event_id, type, body) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (provider, event_id) DO NOTHING

-- name: lease
UPDATE payment_events SET due_at = now() + $2::interval, attempts = attempts + 1
WHERE id IN (
    SELECT id FROM payment_events WHERE state = 'waiting' AND due_at <= now() AND provider = ANY($3)
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
RETURNING id, provider, body, attempts

-- name: finish
-- Only by who has it in hand: one whose lease ran out may have been overtaken.
UPDATE payment_events SET state = $3, note = $4, ended_at = now()
WHERE id = $1 AND attempts = $2 AND state = 'waiting'

-- name: postpone
UPDATE payment_events SET due_at = now() + $3::interval, note = $4
WHERE id = $1 AND attempts = $2 AND state = 'waiting'

-- name: again
UPDATE payment_events SET state = 'waiting', attempts = 0, due_at = now(), ended_at = NULL
WHERE id = $1 AND state IN ('failed', 'ignored', 'waiting')
RETURNING *

-- name: index
SELECT id, provider, event_id, type, state, note, attempts, due_at, received_at, ended_at
FROM payment_events
WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR provider = $2)
ORDER BY received_at DESC, id DESC
LIMIT $3 OFFSET $4

-- name: count
SELECT count(*) FROM payment_events WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR provider = $2)

-- name: find
SELECT * FROM payment_events WHERE id = $1

-- name: waiting
SELECT count(*) FROM payment_events WHERE state = 'waiting'

-- name: failed
SELECT count(*) FROM payment_events WHERE state = 'failed'

-- name: prune
-- What failed stays until somebody has looked at it.
DELETE FROM payment_events WHERE id IN (
    SELECT id FROM payment_events WHERE received_at < now() - $1::interval AND state IN ('done', 'ignored')
    ORDER BY received_at LIMIT 1000
)
