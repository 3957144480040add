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

-- name: sells
SELECT EXISTS (SELECT FROM publishers WHERE organization_id = $1 AND deleted_at IS NULL)

-- name: owner_of
SELECT organization_id FROM agent_wallets WHERE address = $1

-- name: primary_asset
SELECT asset_id FROM publisher_prices JOIN publishers ON publishers.id = publisher_id
WHERE publisher_id = $1 AND is_active AND deleted_at IS NULL
ORDER BY position LIMIT 1

-- name: purchases
SELECT assets.decimals, -sum(entries.amount) AS bought
FROM accounts AS own
    JOIN entries AS mine ON mine.account_id = own.id AND mine.amount > 0
    JOIN transfers ON transfers.id = mine.transfer_id AND transfers.kind = 'deposit'
    JOIN entries ON entries.transfer_id = transfers.id
    JOIN accounts AS clearing ON clearing.id = entries.account_id AND clearing.kind IN ('stripe', 'polar')
    JOIN assets ON assets.id = own.asset_id
WHERE own.owner_id = $1 AND own.mode = $2 AND own.kind = 'funded'
GROUP BY assets.id

-- name: is_recoverable
SELECT EXISTS (SELECT FROM recoveries WHERE organization_id = $1)

-- name: given
-- Of what was given, what can be spent now.
SELECT reason, decimals, sum(amount - held - spent - expired) AS amount
FROM grants JOIN assets ON assets.id = asset_id
WHERE organization_id = $1 AND mode = $2 AND closed_at IS NULL
GROUP BY reason, decimals
