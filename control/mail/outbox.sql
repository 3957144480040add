-- name: post
INSERT INTO outbox (id, recipient, subject, body_text, body_html, expires_at, is_decoy)
VALUES ($1, $2, $3, $4, $5, now() + $6::interval, $7)

-- name: claim
UPDATE outbox SET attempts = attempts + 1, due_at = now() + $2::interval
WHERE id IN (
    SELECT id FROM outbox
    WHERE sent_at IS NULL AND failed_at IS NULL AND NOT is_decoy AND due_at <= now() AND expires_at > now()
    ORDER BY due_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
RETURNING id, recipient, subject, body_text, body_html, created_at, attempts

-- name: sent
UPDATE outbox SET sent_at = now(), body_text = '', body_html = '', last_error = NULL WHERE id = $1

-- name: postpone
UPDATE outbox SET due_at = now() + $2::interval, last_error = $3 WHERE id = $1 AND sent_at IS NULL

-- name: give_up
UPDATE outbox SET failed_at = now(), last_error = $2 WHERE id = $1 AND sent_at IS NULL

-- name: waiting
SELECT id, recipient, subject, body_text, created_at, expires_at, attempts, sent_at, failed_at, last_error
FROM outbox
WHERE NOT is_decoy AND ($1 OR sent_at IS NULL)
ORDER BY created_at DESC
LIMIT 200

-- name: count
SELECT count(*) FILTER (WHERE sent_at IS NULL AND failed_at IS NULL) AS waiting, count(failed_at) AS failed
FROM outbox WHERE NOT is_decoy

-- name: find
SELECT id, recipient, subject, body_text, created_at, expires_at, attempts, sent_at, failed_at, last_error
FROM outbox
WHERE id = $1 AND NOT is_decoy

-- name: expire
UPDATE outbox SET failed_at = now(), last_error = coalesce(last_error, 'nobody could send it in time')
WHERE sent_at IS NULL AND failed_at IS NULL AND NOT is_decoy AND expires_at < now()

-- name: prune
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox WHERE created_at < now() - interval '7 days' ORDER BY created_at LIMIT 1000
)
