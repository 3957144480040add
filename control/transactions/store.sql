-- part: calls_together
-- Calls that were charged together, one by one.
SELECT -cost AS amount, asset_id, call_id, 'charge', 1, left(concat(method, ' ', slug, path), 200),
    usage_events.created_at, publisher_id, true
FROM usage_events
JOIN assets ON assets.id = usage_events.asset_id AND assets.mode = $2
JOIN publishers ON publishers.id = usage_events.publisher_id
WHERE $3::boolean AND usage_events.organization_id = $1 AND charged_as IS NOT NULL
  AND ($4::timestamptz IS NULL OR usage_events.created_at >= $4)
  AND ($5::timestamptz IS NULL OR usage_events.created_at < $5)

-- part: lines_of
-- A line is a transfer, or with usage put together the calls to one publisher on one day. A charge without a call has a
-- description of its own, for its payer to read.
entry AS (
    SELECT entries.amount, accounts.asset_id, transfers.id, transfers.kind, transfers.calls, transfers.description,
        transfers.created_at, coalesce(usage_events.publisher_id, charges.publisher_id) AS publisher_id,
        transfers.kind = 'charge' AND usage_events.method IS DISTINCT FROM 'CHARGE' AS is_call
    FROM accounts
    JOIN entries ON entries.account_id = accounts.id
    JOIN transfers ON transfers.id = entries.transfer_id
    LEFT JOIN usage_events ON usage_events.call_id = transfers.cause_id AND transfers.kind = 'charge'
    LEFT JOIN charge_changes ON charge_changes.id = transfers.cause_id AND transfers.kind IN ('refund', 'slash')
    LEFT JOIN charges ON charges.id = charge_changes.charge_id
    WHERE accounts.owner_id = $1 AND accounts.mode = $2 AND accounts.kind IN ('funded', 'promotional')
      AND (transfers.calls = 1 OR NOT $3::boolean)
      AND ($4::timestamptz IS NULL OR transfers.created_at >= $4)
      AND ($5::timestamptz IS NULL OR transfers.created_at < $5)
    UNION ALL
    SELECT * FROM called
), line AS (
    SELECT CASE WHEN is_call AND NOT $3::boolean
            THEN md5(concat_ws(' ', $1::uuid, asset_id, publisher_id, (created_at AT TIME ZONE 'UTC')::date))::uuid
            ELSE id
        END AS id,
        asset_id, kind, is_call, publisher_id, sum(amount) AS amount,
        -- A transfer may draw on two accounts; one for several calls does not.
        count(DISTINCT id) + sum(calls - 1) AS call_count,
        max(description) AS description, max(created_at) AS created_at
    FROM entry
    GROUP BY 1, asset_id, kind, is_call, publisher_id
    HAVING sum(amount) <> 0
)

-- name: lines
WITH called AS (
    {calls_together}
      AND ($6::timestamptz IS NULL OR (usage_events.created_at, call_id) < ($6, $7::uuid))
    -- Each is a line already, and they are looked up in the order of the lines: a page reads as many and not all.
    ORDER BY usage_events.created_at DESC, call_id DESC
    LIMIT $8::bigint + $9::bigint
), {lines_of}, page AS (
    SELECT * FROM line WHERE $6::timestamptz IS NULL OR (created_at, id) < ($6, $7::uuid)
    ORDER BY created_at DESC, id DESC LIMIT $8 OFFSET $9
)
SELECT page.*, publishers.name AS publisher_name, assets.symbol, assets.decimals, (
    -- The clearing account at the other end says how it came in.
    SELECT accounts.kind FROM entries JOIN accounts ON accounts.id = entries.account_id
    WHERE page.kind = 'deposit' AND entries.transfer_id = page.id
        AND accounts.kind IN ('chain', 'stripe', 'polar', 'bank')
    LIMIT 1
) AS came_by, given.*
FROM page JOIN assets ON assets.id = page.asset_id
    LEFT JOIN publishers ON publishers.id = page.publisher_id
    LEFT JOIN LATERAL (
        SELECT reason, grants.amount - spent - expired AS remaining, expires_at
        FROM transfers JOIN grants ON grants.cause_id = transfers.cause_id
        WHERE page.kind = 'grant' AND transfers.id = page.id
    ) AS given ON true
ORDER BY page.created_at DESC, page.id DESC

-- name: count_lines
WITH called AS (
    {calls_together}
), {lines_of}
SELECT count(*) FROM line

-- name: sums
-- What is there now less what came since; so only the span and what is after it is read.
WITH entry AS (
    SELECT accounts.asset_id, transfers.id, calls, amount,
        $4::timestamptz IS NOT NULL AND transfers.created_at >= $4 AS is_after
    FROM accounts
    JOIN entries ON entries.account_id = accounts.id
    JOIN transfers ON transfers.id = entries.transfer_id
    WHERE accounts.owner_id = $1 AND accounts.mode = $2 AND accounts.kind IN ('funded', 'promotional')
        AND ($3::timestamptz IS NULL OR transfers.created_at >= $3)
), transfer AS (
    -- One that draws on both accounts is one.
    SELECT asset_id, calls, is_after, sum(amount) AS amount FROM entry GROUP BY asset_id, id, calls, is_after
), span AS (
    SELECT asset_id, sum(amount) FILTER (WHERE NOT is_after AND amount > 0) AS credits,
        -sum(amount) FILTER (WHERE NOT is_after AND amount < 0) AS debits,
        sum(amount) FILTER (WHERE is_after) AS since,
        sum(calls) FILTER (WHERE NOT is_after AND amount <> 0) AS transactions
    FROM transfer GROUP BY asset_id
), has AS (
    SELECT asset_id, sum(posted) AS posted FROM accounts
    WHERE owner_id = $1 AND mode = $2 AND kind IN ('funded', 'promotional') GROUP BY asset_id
)
SELECT decimals, posted - coalesce(since, 0) AS ends, coalesce(credits, 0) AS credits, coalesce(debits, 0) AS debits,
    coalesce(transactions, 0) AS transactions
FROM has JOIN assets ON assets.id = has.asset_id LEFT JOIN span ON span.asset_id = has.asset_id
