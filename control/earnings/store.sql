-- name: publisher
SELECT id, name, slug, wallet_address FROM publishers WHERE organization_id = $1 AND id = $2

-- name: counted_until
SELECT next_in FROM rollup_marks WHERE name = 'earnings'

-- name: oldest_young
-- Of what is too young to be paid out.
SELECT transfer_id FROM accounts
    JOIN entries ON account_id = accounts.id AND transfer_id >= first_id_at(now() - $3::interval)
    JOIN transfers ON transfers.id = transfer_id AND transfers.kind IN ('charge', 'slash')
WHERE owner_id = $1 AND asset_id = $2 AND accounts.kind = 'earnings'
ORDER BY transfer_id LIMIT 1

-- name: by_asset
-- Of each asset that the publisher accepts, or that anything was ever earned in: what is added up, and what came after $4,
-- up to which that is. A number that is given and not looked up lets the planner see how little came after it.
WITH earnings AS (
    SELECT id, asset_id FROM accounts WHERE owner_id = $1 AND mode = $3 AND kind = 'earnings'
), called AS (
    SELECT asset_id, sum(earned) AS amount, sum(direct) AS direct, sum(calls)::bigint AS requests FROM (
        SELECT asset_id, earned, direct, calls FROM earned_totals WHERE publisher_id = $2
        UNION ALL
        SELECT earnings.asset_id, coalesce(sum(amount) FILTER (WHERE kind = 'charge'), 0),
            coalesce(-sum(amount) FILTER (WHERE kind = 'payout'), 0),
            coalesce(sum(transfers.calls) FILTER (WHERE kind = 'charge'), 0)
        FROM usage_events
            JOIN transfers ON transfers.cause_id = call_id AND kind IN ('charge', 'payout')
            JOIN entries ON entries.transfer_id = transfers.id
            JOIN earnings ON earnings.id = entries.account_id
        WHERE usage_events.publisher_id = $2 AND outcome = 'charged' AND written_in >= $4
        GROUP BY earnings.asset_id
    ) AS parts GROUP BY asset_id
), changed AS (
    SELECT earnings.asset_id, sum(entries.amount) AS amount
    FROM charges
        JOIN charge_changes ON charge_id = charges.id
        JOIN transfers ON transfers.cause_id = charge_changes.id AND transfers.kind = charge_changes.kind
        JOIN entries ON entries.transfer_id = transfers.id
        JOIN earnings ON earnings.id = entries.account_id
    WHERE charges.publisher_id = $2
    GROUP BY earnings.asset_id
), paid AS (
    SELECT asset_id, coalesce(sum(amount) FILTER (WHERE state = 'sent'), 0) AS withdrawn,
        coalesce(sum(amount) FILTER (WHERE state IN ('requested', 'submitted')), 0) AS pending
    FROM payouts WHERE publisher_id = $2 GROUP BY asset_id
)
SELECT assets.id AS asset_id, assets.network AS asset_network, assets.symbol AS asset_symbol,
    assets.name AS asset_name, assets.decimals AS asset_decimals, assets.address AS asset_address,
    coalesce(called.amount, 0) + coalesce(changed.amount, 0) AS revenue,
    -- x402 payments to the publisher's own wallet were paid out as they were earned.
    coalesce(called.direct, 0) + coalesce(paid.withdrawn, 0) AS withdrawn,
    coalesce(paid.pending, 0) AS pending, coalesce(called.requests, 0) AS requests,
    (SELECT next_in FROM rollup_marks WHERE name = 'earnings') = $4 AS is_current
FROM assets
    LEFT JOIN called ON called.asset_id = assets.id
    LEFT JOIN changed ON changed.asset_id = assets.id
    LEFT JOIN paid ON paid.asset_id = assets.id
    LEFT JOIN publisher_prices ON publisher_prices.publisher_id = $2 AND publisher_prices.asset_id = assets.id
WHERE assets.mode = $3 AND (position IS NOT NULL OR called.amount IS NOT NULL OR paid.asset_id IS NOT NULL)
ORDER BY position NULLS LAST, assets.created_at, assets.id
