-- name: publisher
SELECT id, organization_id, slug, wallet_address, wallet_network_id, suspended_at IS NOT NULL AS is_suspended
FROM publishers WHERE organization_id = $1 AND id = $2

-- name: asset
SELECT id, network, address, decimals, mode FROM assets
WHERE id = $3 AND (
    EXISTS (SELECT FROM publisher_prices WHERE publisher_id = $2 AND asset_id = $3)
    OR EXISTS (SELECT FROM accounts WHERE owner_id = $1 AND asset_id = $3 AND kind = 'earnings'))

-- name: earned
SELECT assets.id, assets.network, assets.address, assets.decimals, assets.mode
FROM accounts JOIN assets ON assets.id = accounts.asset_id
    LEFT JOIN publisher_prices ON publisher_id = $2 AND publisher_prices.asset_id = assets.id
WHERE owner_id = $1 AND accounts.kind = 'earnings' AND accounts.mode = $3
ORDER BY position NULLS LAST, assets.created_at, assets.id

-- name: named
SELECT id FROM payouts WHERE publisher_id = $1 AND idempotency_key = $2

-- name: page
SELECT payouts.id FROM payouts JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND mode = $2
ORDER BY payouts.id DESC LIMIT $3 OFFSET $4

-- name: count
SELECT count(*) FROM payouts JOIN assets ON assets.id = asset_id WHERE publisher_id = $1 AND mode = $2

-- name: page_of_all
SELECT id FROM payouts WHERE $1::text IS NULL OR state = $1
ORDER BY id DESC LIMIT $2 OFFSET $3

-- name: count_all
SELECT count(*) FROM payouts WHERE $1::text IS NULL OR state = $1

-- name: assets
SELECT id AS asset_id, network AS asset_network, symbol AS asset_symbol, name AS asset_name,
    decimals AS asset_decimals, address AS asset_address
FROM assets WHERE id = ANY ($1::uuid[])
