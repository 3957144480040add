-- name: lock
SELECT organization_id, asset_id, decimals, number, month::text AS month, invoices.mode, total_cents,
    coalesce(cause_id, invoices.id) AS cause_id
FROM invoices JOIN assets ON assets.id = asset_id
WHERE invoices.id = $1 AND status = 'issued'
FOR NO KEY UPDATE OF invoices

-- name: settle
UPDATE invoices SET status = 'paid', paid_at = now(), paid_source = $2, paid_reference = $3 WHERE id = $1
