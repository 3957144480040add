-- name: lock
-- What stands now, and not what stood when nobody had looked; somebody who pays at this moment is not reminded.
SELECT id, organization_id, mode, month, number, total_cents, due_at, stage FROM (
    SELECT id, CASE
        WHEN $1 > 0 AND due_at + make_interval(days => $1) <= now() THEN 'restricted'
        WHEN due_at + interval '7 days' <= now() THEN 'overdue_still'
        WHEN due_at <= now() THEN 'overdue'
        WHEN due_at - interval '3 days' <= now() AND due_at - issued_at > interval '3 days' THEN 'due_soon' END AS stage
    FROM invoices WHERE status = 'issued' AND due_at <= now() + interval '3 days'
) AS reached JOIN invoices USING (id)
WHERE status = 'issued' AND stage IS NOT NULL AND NOT EXISTS (
    SELECT FROM invoice_reminders AS sent
    WHERE sent.invoice_id = id AND sent.due_at = invoices.due_at AND sent.stage = reached.stage
)
ORDER BY id LIMIT $2 FOR NO KEY UPDATE OF invoices SKIP LOCKED

-- name: mark
INSERT INTO invoice_reminders (invoice_id, due_at, stage) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
RETURNING stage

-- name: owners
SELECT users.email, users.name, organizations.name AS organization
FROM members JOIN users ON users.id = members.user_id JOIN organizations ON organizations.id = members.organization_id
WHERE members.organization_id = $1 AND members.role = 'owner' AND users.email_verified_at IS NOT NULL

-- name: count_overdue
SELECT count(*) FROM invoices WHERE status = 'issued' AND due_at <= now()

-- name: oldest
SELECT id, mode, month, number, total_cents, due_at FROM invoices
WHERE organization_id = $1 AND status = 'issued' AND due_at + make_interval(days => $2) <= now()
ORDER BY due_at, id LIMIT 1

-- name: other_owes
-- Another one that the same person made and owns: else a new team would be as good as paying.
SELECT EXISTS (
    SELECT FROM organizations JOIN organizations AS other ON other.created_by = organizations.created_by
        JOIN members ON members.organization_id = other.id AND members.user_id = other.created_by AND role = 'owner'
        JOIN invoices ON invoices.organization_id = other.id
    WHERE organizations.id = $1 AND other.id <> $1 AND invoices.status = 'issued'
        AND due_at + make_interval(days => $2) <= now()
)
