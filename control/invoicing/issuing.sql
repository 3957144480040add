-- name: lock
SELECT id, organization_id, asset_id, mode, month, status, number, total_cents FROM invoices
WHERE id = $1 FOR NO KEY UPDATE

-- name: number
-- The lock holds until the invoice that has the number is committed: none is given twice, and none is left out.
UPDATE invoice_numbers SET last = last + 1 WHERE mode = $1 RETURNING last

-- name: issue
UPDATE invoices SET status = CASE WHEN total_cents = 0 THEN 'paid' ELSE 'issued' END, number = $2, issued_at = now(),
    paid_at = CASE WHEN total_cents = 0 THEN now() END,
    due_at = CASE WHEN total_cents > 0 THEN now() + $3::interval END
WHERE id = $1

-- name: void
UPDATE invoices SET status = 'void', voided_at = now() WHERE id = $1
