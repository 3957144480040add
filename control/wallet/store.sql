-- name: address
SELECT address FROM agent_wallets WHERE organization_id = $1 ORDER BY created_at, address LIMIT 1

-- name: balances
SELECT assets.id AS asset_id, assets.symbol, assets.network, assets.decimals,
    coalesce(sum(posted) FILTER (WHERE kind = 'funded'), 0) AS funded,
    coalesce(sum(held) FILTER (WHERE kind = 'funded'), 0) AS funded_held,
    coalesce(sum(posted) FILTER (WHERE kind = 'promotional'), 0) AS promotional,
    coalesce(sum(held) FILTER (WHERE kind = 'promotional'), 0) AS promotional_held
FROM accounts JOIN assets ON assets.id = accounts.asset_id
WHERE owner_id = $1 AND accounts.mode = $2 AND kind IN ('funded', 'promotional')
GROUP BY assets.id
ORDER BY assets.created_at, assets.id

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
SELECT line.*, assets.symbol, assets.decimals
FROM line JOIN assets ON assets.id = line.asset_id
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

-- name: sells
SELECT EXISTS (SELECT FROM publishers WHERE organization_id = $1 AND deleted_at IS NULL)

-- name: owner_of
SELECT organization_id FROM agent_wallets WHERE address = $1

-- name: primary_asset
SELECT asset_id FROM publisher_prices JOIN publishers ON publishers.id = publisher_id
WHERE publisher_id = $1 AND is_active AND deleted_at IS NULL
ORDER BY position LIMIT 1
