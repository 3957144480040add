-- name: begin
-- A request that comes again under its key finds what it made.
INSERT INTO card_payments
    (id, organization_id, created_by, provider, asset_id, purpose, invoice_id, request_key, amount_cents, amount,
     referral_code)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT DO NOTHING
RETURNING *

-- name: by_request
SELECT * FROM card_payments WHERE organization_id = $1 AND request_key = $2

-- name: open_of_invoice
SELECT * FROM card_payments WHERE invoice_id = $1 AND state IN ('created', 'open')

-- name: of_invoice
SELECT * FROM card_payments WHERE invoice_id = $1 AND organization_id = $2 ORDER BY created_at, id

-- name: by_id
SELECT * FROM card_payments WHERE id = $1 AND provider = $2

-- name: by_session
SELECT * FROM card_payments WHERE session_id = $1 AND provider = $2

-- name: by_intent
SELECT * FROM card_payments WHERE intent_id = $1 AND provider = $2

-- name: lock
SELECT * FROM card_payments WHERE id = $1 FOR NO KEY UPDATE

-- name: stands
-- What is further than what is told now stays: events come in any order.
UPDATE card_payments
SET state = CASE WHEN state IN ('created', 'open') THEN $2 ELSE state END,
    session_id = coalesce(session_id, $3),
    intent_id = coalesce(intent_id, $4),
    charge_id = coalesce($5, charge_id),
    url = coalesce(url, $6),
    failure_code = $7,
    failure_message = $8,
    failed_at = CASE WHEN $7::text IS NULL AND $2 <> 'failed' THEN failed_at ELSE coalesce(failed_at, now()) END
WHERE id = $1

-- name: paid
UPDATE card_payments SET state = 'paid', booked_as = $2, paid_at = now(), invoice_cause_id = CASE $2 WHEN 'invoice' THEN (
    SELECT coalesce(cause_id, id) FROM invoices WHERE invoices.id = card_payments.invoice_id
) END
WHERE id = $1 AND state <> 'paid'

-- name: mode
SELECT mode FROM assets WHERE id = $1

-- name: cancel
UPDATE card_payments SET state = 'canceled' WHERE id = $1 AND state IN ('created', 'open')

-- name: own
SELECT card_payments.* FROM card_payments JOIN assets ON assets.id = card_payments.asset_id
WHERE card_payments.id = $1 AND organization_id = $2 AND mode = $3
