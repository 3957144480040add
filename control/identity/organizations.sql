-- name: create
INSERT INTO organizations (id, name, slug, created_by, is_personal) VALUES ($1, $2, $3, $4, false)
ON CONFLICT (slug) DO NOTHING
RETURNING id

-- name: lock_maker
-- Whoever makes two at once makes the second when the first is counted.
SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE

-- name: count_made
SELECT count(*) FROM organizations WHERE created_by = $1 AND NOT is_personal AND deleted_at IS NULL

-- name: rename
UPDATE organizations SET name = $2, updated_at = now()
WHERE id = $1 AND NOT is_personal AND deleted_at IS NULL
RETURNING id

-- name: lock
SELECT FROM organizations WHERE id = $1 FOR UPDATE

-- name: share
SELECT id FROM organizations WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE

-- name: delete
-- A page to pay on is open for a day: what is paid there would be nobody's.
UPDATE organizations SET deleted_at = now(), updated_at = now()
WHERE id = $1 AND NOT is_personal AND deleted_at IS NULL AND id <> '00000000-0000-7000-8000-000000000000'
    AND NOT EXISTS (SELECT FROM projects WHERE organization_id = $1 AND deleted_at IS NULL)
    AND NOT EXISTS (SELECT FROM publishers WHERE organization_id = $1 AND deleted_at IS NULL)
    AND NOT EXISTS (SELECT FROM invoices WHERE organization_id = $1 AND status = 'issued')
    AND NOT EXISTS (
        SELECT FROM card_payments
        WHERE organization_id = $1 AND state IN ('created', 'open') AND created_at > now() - interval '1 day'
    )
    AND NOT EXISTS (
        SELECT FROM card_reversals JOIN card_payments ON card_payments.id = payment_id
        WHERE organization_id = $1 AND owed > 0 AND (booked_as = 'deposit' OR is_of_balance)
    )
    AND NOT EXISTS (
        SELECT FROM accounts WHERE owner_id = $1 AND kind IN ('funded', 'earnings', 'payouts') AND (posted <> 0 OR held <> 0)
    )
RETURNING id

-- name: why_kept
SELECT is_personal,
    EXISTS (SELECT FROM projects WHERE organization_id = $1 AND deleted_at IS NULL) AS projects,
    EXISTS (SELECT FROM publishers WHERE organization_id = $1 AND deleted_at IS NULL) AS publishers,
    EXISTS (
        SELECT FROM accounts WHERE owner_id = $1 AND kind IN ('funded', 'earnings', 'payouts') AND (posted <> 0 OR held <> 0)
    ) AS money,
    EXISTS (SELECT FROM invoices WHERE organization_id = $1 AND status = 'issued') AS invoices,
    EXISTS (
        SELECT FROM card_payments
        WHERE organization_id = $1 AND state IN ('created', 'open') AND created_at > now() - interval '1 day'
    ) AS open_payments,
    EXISTS (
        SELECT FROM card_reversals JOIN card_payments ON card_payments.id = payment_id
        WHERE organization_id = $1 AND owed > 0 AND (booked_as = 'deposit' OR is_of_balance)
    ) AS debts
FROM organizations WHERE id = $1

-- name: suspend
UPDATE organizations
SET suspended_at = CASE WHEN $2 THEN coalesce(suspended_at, now()) END, updated_at = now()
WHERE id = $1 AND deleted_at IS NULL AND id <> '00000000-0000-7000-8000-000000000000'
RETURNING id, name, slug, created_by, is_personal, created_at, updated_at, deleted_at, suspended_at
