-- name: get
SELECT invoices.id, organization_id, organizations.name AS organization_name, invoices.mode, month, status, number,
    total_cents, invoices.created_at, issued_at, due_at, paid_at, voided_at,
    status = 'issued' AND coalesce(due_at <= now(), false) AS is_overdue
FROM invoices JOIN organizations ON organizations.id = organization_id
WHERE invoices.id = $1

-- name: lines
SELECT line_type, description, quantity, unit_price, amount_cents, asset_id, amount_atomic
FROM invoice_lines WHERE invoice_id = $1 ORDER BY position

-- name: count
SELECT count(*) FROM invoices
WHERE ($1::uuid IS NULL OR organization_id = $1) AND ($2::text IS NULL OR status = $2) AND (NOT $3 OR due_at <= now())
    AND ($4::date IS NULL OR month = $4) AND ($5::text IS NULL OR mode = $5)

-- name: page
SELECT id, organization_id, mode, month, status, number, total_cents, created_at, issued_at, due_at, paid_at, voided_at,
    status = 'issued' AND coalesce(due_at <= now(), false) AS is_overdue
FROM invoices
WHERE ($1::uuid IS NULL OR organization_id = $1) AND ($2::text IS NULL OR status = $2) AND (NOT $3 OR due_at <= now())
    AND ($4::date IS NULL OR month = $4) AND ($5::text IS NULL OR mode = $5)
ORDER BY month DESC, id DESC LIMIT $6 OFFSET $7
