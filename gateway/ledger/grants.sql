-- name: lock
SELECT id FROM accounts WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: insert
INSERT INTO grants (id, organization_id, account_id, asset_id, reason, cause_id, description, amount, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING id, organization_id, asset_id, reason, description, amount, held, spent, expired, expires_at, created_at

-- name: promote
UPDATE accounts SET is_promoted = true WHERE id = $1 AND NOT is_promoted

-- name: due
-- What is held stays: a call that began in time may still be paid with it.
SELECT DISTINCT account_id, asset_id FROM (
    SELECT account_id, asset_id FROM grants
    WHERE closed_at IS NULL AND amount > 0 AND expires_at <= now() AND amount > held + spent + expired
    ORDER BY expires_at LIMIT $1
) AS due

-- name: expire
-- Asked once the account is locked, so what is left is what it says.
WITH due AS (
    SELECT id, amount - held - spent - expired AS unspent FROM grants
    WHERE account_id = $1 AND closed_at IS NULL AND expires_at <= now() AND amount > held + spent + expired
)
UPDATE grants SET expired = expired + unspent,
    closed_at = CASE WHEN spent + expired + unspent = amount THEN now() END
FROM due WHERE grants.id = due.id
RETURNING grants.id, organization_id, asset_id, description, unspent

-- name: budgets
SELECT assets.id AS asset_id, symbol, network, decimals, assets.mode,
    coalesce(budget.posted, 0) AS budget,
    (SELECT coalesce(sum(posted), 0) FROM accounts WHERE asset_id = assets.id AND kind = 'promotional') AS outstanding
FROM assets LEFT JOIN accounts AS budget ON budget.asset_id = assets.id AND budget.kind = 'promotion_budget'
    AND budget.owner_id = '00000000-0000-7000-8000-000000000000'
ORDER BY assets.created_at, assets.id
