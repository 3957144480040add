-- name: lately
-- Paid lately, and what could have been paid at any time since it was begun.
SELECT card_payments.id, intent_id, amount_cents, state FROM card_payments JOIN assets ON assets.id = asset_id
WHERE provider = $1 AND mode = $2 AND (paid_at >= $3 OR (state = 'open' AND intent_id IS NOT NULL))
ORDER BY card_payments.id

-- name: booked
SELECT intent_id, amount_cents FROM card_payments WHERE provider = $1 AND state = 'paid' AND intent_id = ANY ($2::text[])
