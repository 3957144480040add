-- name: lately
-- Paid lately, and what could have been paid at any time since it was begun.
SELECT card_payments.id, intent_id, amount_cents, state FROM card_payments JOIN assets ON assets.id = asset_id
WHERE provider = $1 AND mode = $2 AND (paid_at >= $3 OR (state = 'open' AND intent_id IS NOT NULL))
ORDER BY card_payments.id

-- name: booked
SELECT intent_id, amount_cents FROM card_payments WHERE provider = $1 AND state = 'paid' AND intent_id = ANY ($2::text[])

-- name: standing
-- Taken back lately, and disputes that may have ended since.
SELECT provider_id, intent_id FROM card_reversals
    JOIN card_payments ON card_payments.id = payment_id JOIN assets ON assets.id = asset_id
WHERE card_reversals.provider = $1 AND mode = $2 AND card_reversals.state = 'standing' AND intent_id IS NOT NULL
    AND card_reversals.created_at >= CASE kind
        WHEN 'dispute' THEN least($3::timestamptz, now() - interval '120 days') ELSE $3 END
ORDER BY card_reversals.id

-- name: taken_back
SELECT provider_id FROM card_reversals WHERE provider = $1 AND state = 'standing' AND provider_id = ANY ($2::text[])
