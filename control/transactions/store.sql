-- name: lines
-- A line is a transfer, or with usage put together the charges of one publisher on one day.
WITH entry AS (
    SELECT entries.amount, accounts.asset_id, transfers.id, transfers.kind, transfers.description,
        transfers.created_at, publishers.id AS publisher_id, publishers.name AS publisher_name,
        CASE WHEN transfers.kind = 'charge' AND NOT $3::boolean
            THEN md5(concat_ws(' ', accounts.owner_id, accounts.asset_id, publishers.id,
                (transfers.created_at AT TIME ZONE 'UTC')::date))::uuid
            ELSE transfers.id
        END AS line_id
    FROM accounts
    JOIN entries ON entries.account_id = accounts.id
    JOIN transfers ON transfers.id = entries.transfer_id
    LEFT JOIN usage_events ON usage_events.call_id = transfers.cause_id AND transfers.kind = 'charge'
    LEFT JOIN publishers ON publishers.id = usage_events.publisher_id
    WHERE accounts.owner_id = $1 AND accounts.mode = $2 AND accounts.kind IN ('funded', 'promotional')
      AND ($4::timestamptz IS NULL OR transfers.created_at >= $4)
      AND ($5::timestamptz IS NULL OR transfers.created_at < $5)
), line AS (
    SELECT line_id AS id, asset_id, kind, publisher_id, publisher_name,
        sum(amount) AS amount, count(DISTINCT entry.id) AS call_count,
        max(description) AS description, max(created_at) AS created_at
    FROM entry
    GROUP BY line_id, asset_id, kind, publisher_id, publisher_name
    HAVING sum(amount) <> 0
)
SELECT line.*, assets.symbol, assets.decimals, (
    -- The clearing account at the other end says how it came in.
    SELECT accounts.kind FROM entries JOIN accounts ON accounts.id = entries.account_id
    WHERE line.kind = 'deposit' AND entries.transfer_id = line.id
        AND accounts.kind IN ('chain', 'stripe', 'polar', 'bank')
    LIMIT 1
) AS came_by, given.*
FROM line JOIN assets ON assets.id = line.asset_id
    LEFT JOIN LATERAL (
        SELECT reason, grants.amount - spent - expired AS remaining, expires_at
        FROM transfers JOIN grants ON grants.cause_id = transfers.cause_id
        WHERE line.kind = 'grant' AND transfers.id = line.id
    ) AS given ON true
WHERE $6::timestamptz IS NULL OR (line.created_at, line.id) < ($6, $7::uuid)
ORDER BY line.created_at DESC, line.id DESC
LIMIT $8 OFFSET $9

-- name: count_lines
SELECT count(*) FROM (
    SELECT FROM accounts
    JOIN entries ON entries.account_id = accounts.id
    JOIN transfers ON transfers.id = entries.transfer_id
    LEFT JOIN usage_events ON usage_events.call_id = transfers.cause_id AND transfers.kind = 'charge'
    WHERE accounts.owner_id = $1 AND accounts.mode = $2 AND accounts.kind IN ('funded', 'promotional')
      AND ($4::timestamptz IS NULL OR transfers.created_at >= $4)
      AND ($5::timestamptz IS NULL OR transfers.created_at < $5)
    GROUP BY accounts.asset_id, CASE WHEN transfers.kind = 'charge' AND NOT $3::boolean
        THEN md5(concat_ws(' ', accounts.owner_id, accounts.asset_id, usage_events.publisher_id,
            (transfers.created_at AT TIME ZONE 'UTC')::date))::uuid
        ELSE transfers.id
    END
    HAVING sum(entries.amount) <> 0
) AS line

-- name: sums
-- What is there now less what came since; so only the span and what is after it is read.
WITH entry AS (
    SELECT accounts.asset_id, transfers.id, amount,
        $4::timestamptz IS NOT NULL AND transfers.created_at >= $4 AS is_after
    FROM accounts
    JOIN entries ON entries.account_id = accounts.id
    JOIN transfers ON transfers.id = entries.transfer_id
    WHERE accounts.owner_id = $1 AND accounts.mode = $2 AND accounts.kind IN ('funded', 'promotional')
        AND ($3::timestamptz IS NULL OR transfers.created_at >= $3)
), transfer AS (
    -- One that draws on both accounts is one.
    SELECT asset_id, id, is_after, sum(amount) AS amount FROM entry GROUP BY asset_id, id, is_after
), span AS (
    SELECT asset_id, sum(amount) FILTER (WHERE NOT is_after AND amount > 0) AS credits,
        -sum(amount) FILTER (WHERE NOT is_after AND amount < 0) AS debits,
        sum(amount) FILTER (WHERE is_after) AS since,
        count(*) FILTER (WHERE NOT is_after AND amount <> 0) AS transactions
    FROM transfer GROUP BY asset_id
), has AS (
    SELECT asset_id, sum(posted) AS posted FROM accounts
    WHERE owner_id = $1 AND mode = $2 AND kind IN ('funded', 'promotional') GROUP BY asset_id
)
SELECT decimals, posted - coalesce(since, 0) AS ends, coalesce(credits, 0) AS credits, coalesce(debits, 0) AS debits,
    coalesce(transactions, 0) AS transactions
FROM has JOIN assets ON assets.id = has.asset_id LEFT JOIN span ON span.asset_id = has.asset_id
