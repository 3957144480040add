-- name: known
-- One that took a part of what paid an invoice and a part of a balance has a row for each.
SELECT * FROM card_reversals WHERE provider = $1 AND provider_id = $2 ORDER BY is_of_balance FOR NO KEY UPDATE

-- name: standing_of
SELECT coalesce(sum(amount_cents), 0) FROM card_reversals WHERE payment_id = $1 AND state = 'standing'

-- name: disputed
SELECT coalesce(sum(amount_cents), 0) FROM card_reversals
WHERE payment_id = $1 AND state = 'standing' AND kind = 'dispute'

-- name: insert
INSERT INTO card_reversals
    (id, payment_id, provider, provider_id, kind, amount_cents, amount, taken, owed, state, is_of_balance, returned_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, CASE WHEN $10 = 'returned' THEN now() END)

-- name: take_rest
UPDATE card_reversals SET amount_cents = amount_cents + $2, amount = amount + $3, taken = taken + $4, owed = owed + $3 - $4
WHERE id = $1

-- name: returned
UPDATE card_reversals SET state = 'returned', owed = 0, returned_at = now()
WHERE provider = $1 AND provider_id = $2

-- name: collected
UPDATE card_reversals SET taken = taken + $2, owed = owed - $2 WHERE id = $1

-- name: collectable
-- Debts whose debtor has something now, the oldest first. What paid an invoice is in the platform's revenue.
SELECT card_reversals.id, card_reversals.payment_id
FROM card_reversals
JOIN card_payments ON card_payments.id = card_reversals.payment_id
JOIN accounts ON accounts.asset_id = card_payments.asset_id AND (accounts.owner_id, accounts.kind) = (
    CASE WHEN booked_as = 'deposit' OR is_of_balance THEN organization_id ELSE '00000000-0000-7000-8000-000000000000' END,
    CASE WHEN booked_as = 'deposit' OR is_of_balance THEN 'funded' ELSE 'revenue' END
)
WHERE card_reversals.owed > 0 AND accounts.posted - accounts.held > 0
ORDER BY card_reversals.created_at, card_reversals.id
LIMIT 100

-- name: lock
SELECT * FROM card_reversals WHERE id = $1 FOR NO KEY UPDATE

-- name: debts
SELECT card_reversals.id, card_payments.organization_id, card_payments.asset_id, card_payments.id AS payment_id,
    card_reversals.provider, card_reversals.provider_id, card_reversals.kind, card_reversals.amount,
    card_reversals.taken, card_reversals.owed, card_reversals.created_at
FROM card_reversals JOIN card_payments ON card_payments.id = card_reversals.payment_id
WHERE card_reversals.owed > 0
ORDER BY card_reversals.created_at, card_reversals.id
LIMIT $1 OFFSET $2

-- name: count_debts
SELECT count(*) FROM card_reversals WHERE owed > 0
