-- name: publish_asset
-- What money is worth never changes silently: an asset stays live or test, and keeps its decimals.
INSERT INTO assets (id, network, address, symbol, name, version, decimals, mode)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
-- Whichever unique index a process that starts at the same moment was first in.
ON CONFLICT DO NOTHING

-- name: rename_asset
UPDATE assets SET symbol = $2, name = $3, version = $4
WHERE id = $1 AND (symbol, name, version) <> ($2, $3, $4)

-- name: terms
SELECT decimals, mode FROM assets WHERE id = $1

-- name: open
INSERT INTO accounts (id, owner_id, asset_id, mode, kind)
SELECT $1, $2, assets.id, assets.mode, $4 FROM assets WHERE assets.id = $3
ON CONFLICT (owner_id, asset_id, kind) DO NOTHING
RETURNING id

-- name: find
SELECT id FROM accounts WHERE owner_id = $1 AND asset_id = $2 AND kind = $3

-- name: available
SELECT sum(posted - held) FROM accounts WHERE owner_id = $1 AND asset_id = $2 AND kind IN ('funded', 'promotional')

-- name: owner
SELECT owner_id FROM accounts WHERE id = $1
