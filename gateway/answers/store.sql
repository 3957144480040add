-- name: keep
INSERT INTO answers (call_id, head, body, omitted, senders)
-- An array of arrays would have to be rectangular, so a call's senders arrive as one text.
SELECT call_id, head, body, omitted, string_to_array(senders, ' ')
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::text[], $5::text[])
    AS kept (call_id, head, body, omitted, senders)
ON CONFLICT (call_id) DO NOTHING

-- name: find
SELECT call_id, head, body, omitted, senders FROM answers WHERE call_id = $1

-- name: prune
-- An answer that its payer cannot have yet, because the payment is pending, waits for as long as that takes.
DELETE FROM answers WHERE call_id IN (
    SELECT call_id FROM answers LEFT JOIN payments ON payments.id = call_id
    WHERE answers.created_at < now() - $1::interval
        AND coalesce(payments.state <> 'submitted' AND payments.closed_at < now() - $1::interval, true)
    ORDER BY answers.created_at LIMIT 1000
)
