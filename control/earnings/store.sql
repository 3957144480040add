-- name: publisher
SELECT id, name, slug, wallet_address FROM publishers WHERE organization_id = $1 AND id = $2

-- name: by_asset
-- Of each asset that the publisher accepts, or that anything was ever earned in.
WITH earnings AS (
    SELECT id, asset_id FROM accounts WHERE owner_id = $1 AND mode = $3 AND kind = 'earnings'
), called AS (
    SELECT earnings.asset_id, sum(entries.amount) AS amount, count(*) AS requests
    FROM usage_events
        JOIN transfers ON transfers.cause_id = call_id AND kind = 'charge'
        JOIN entries ON entries.transfer_id = transfers.id
        JOIN earnings ON earnings.id = entries.account_id
    WHERE usage_events.publisher_id = $2 AND outcome = 'charged'
    GROUP BY earnings.asset_id
), changed AS (
    SELECT earnings.asset_id, sum(entries.amount) AS amount
    FROM charges
        JOIN charge_changes ON charge_id = charges.id
        JOIN transfers ON transfers.cause_id = charge_changes.id AND transfers.kind = charge_changes.kind
        JOIN entries ON entries.transfer_id = transfers.id
        JOIN earnings ON earnings.id = entries.account_id
    WHERE charges.publisher_id = $2
    GROUP BY earnings.asset_id
), direct AS (
    -- x402 payments to the publisher's own wallet: paid out as they were earned.
    SELECT earnings.asset_id, -sum(entries.amount) AS amount
    FROM usage_events
        JOIN transfers ON transfers.cause_id = call_id AND kind = 'payout'
        JOIN entries ON entries.transfer_id = transfers.id
        JOIN earnings ON earnings.id = entries.account_id
    WHERE usage_events.publisher_id = $2 AND rail = 'x402' AND outcome = 'charged'
    GROUP BY earnings.asset_id
), paid AS (
    SELECT asset_id, coalesce(sum(amount) FILTER (WHERE state = 'sent'), 0) AS withdrawn,
        coalesce(sum(amount) FILTER (WHERE state IN ('requested', 'submitted')), 0) AS pending
    FROM payouts WHERE publisher_id = $2 GROUP BY asset_id
)
SELECT assets.id AS asset_id, assets.network AS asset_network, assets.symbol AS asset_symbol,
    assets.name AS asset_name, assets.decimals AS asset_decimals, assets.address AS asset_address,
    coalesce(called.amount, 0) + coalesce(changed.amount, 0) AS revenue,
    coalesce(direct.amount, 0) + coalesce(paid.withdrawn, 0) AS withdrawn,
    coalesce(paid.pending, 0) AS pending, coalesce(called.requests, 0) AS requests
FROM assets
    LEFT JOIN called ON called.asset_id = assets.id
    LEFT JOIN changed ON changed.asset_id = assets.id
    LEFT JOIN direct ON direct.asset_id = assets.id
    LEFT JOIN paid ON paid.asset_id = assets.id
    LEFT JOIN publisher_prices ON publisher_prices.publisher_id = $2 AND publisher_prices.asset_id = assets.id
WHERE assets.mode = $3 AND (position IS NOT NULL OR called.amount IS NOT NULL OR paid.asset_id IS NOT NULL)
ORDER BY position NULLS LAST, assets.created_at, assets.id
