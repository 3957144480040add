-- name: find
SELECT organization_id FROM agent_wallets WHERE address = $1

-- name: link
INSERT INTO agent_wallets (address, organization_id) VALUES ($1, $2)
ON CONFLICT (address) DO NOTHING
RETURNING address
