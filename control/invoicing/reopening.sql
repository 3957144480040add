-- name: lock
SELECT id, organization_id, mode, month, number, total_cents, coalesce(cause_id, id) AS cause_id, status, paid_source,
    paid_reference, paid_at
FROM invoices WHERE id = $1 FOR NO KEY UPDATE

-- name: remember
INSERT INTO invoice_reopenings (reversal_id, invoice_id, cause_id, paid_source, paid_reference, paid_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (reversal_id) DO UPDATE SET reopened_at = now(), withdrawn_at = NULL

-- name: reopen
-- As long as it had at first, and two weeks at most.
UPDATE invoices SET status = 'issued', cause_id = $2, paid_at = NULL, paid_source = NULL, paid_reference = NULL,
    due_at = now() + least(due_at - issued_at, interval '14 days')
WHERE id = $1
RETURNING due_at

-- name: reopened
SELECT * FROM invoice_reopenings WHERE invoice_id = $1 AND cause_id = $2 AND withdrawn_at IS NULL

-- name: withdraw
UPDATE invoice_reopenings SET withdrawn_at = now() WHERE reversal_id = $1

-- name: restore
UPDATE invoices SET status = 'paid', cause_id = $2, paid_source = $3, paid_reference = $4, paid_at = $5 WHERE id = $1
