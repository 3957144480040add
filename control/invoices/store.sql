-- name: get
SELECT invoices.id, organization_id, organizations.name AS organization_name, invoices.mode, month, status, number,
    total_cents, invoices.created_at, issued_at, paid_at, voided_at
FROM invoices JOIN organizations ON organizations.id = organization_id
WHERE invoices.id = $1

-- name: lines
SELECT line_type, description, quantity, unit_price, amount_cents, asset_id, amount_atomic
FROM invoice_lines WHERE invoice_id = $1 ORDER BY position

-- name: count
SELECT count(*) FROM invoices WHERE organization_id = $1

-- name: page
SELECT id, organization_id, mode, month, status, number, total_cents, created_at, issued_at, paid_at, voided_at
FROM invoices WHERE organization_id = $1 ORDER BY month DESC, id DESC LIMIT $2 OFFSET $3
