-- name: is_seller
SELECT EXISTS (SELECT FROM publishers WHERE organization_id = $1 AND id = $2)

-- name: totals
-- Money of the other mode is none of this; a call that cost nothing has no asset.
SELECT coalesce(assets.decimals, 0) AS decimals, coalesce(sum(cost), 0) AS cost, sum(calls)::bigint AS calls,
    coalesce(sum(calls) FILTER (WHERE outcome = 'charged'), 0)::bigint AS charged,
    coalesce(sum(calls) FILTER (WHERE outcome = 'charged' AND rail = 'x402'), 0)::bigint AS paid_on_chain,
    coalesce(sum(calls) FILTER (WHERE outcome NOT IN ('charged', 'free')), 0)::bigint AS failed
FROM usage_days LEFT JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND day BETWEEN $2 AND $3 AND (asset_id IS NULL OR assets.mode = $4)
GROUP BY 1

-- name: refunded
-- On the day it was given back, whenever it was charged.
SELECT assets.decimals, sum(charge_changes.amount) AS amount
FROM charge_changes JOIN charges ON charges.id = charge_id JOIN assets ON assets.id = asset_id
WHERE kind = 'refund' AND publisher_id = $1 AND assets.mode = $4
    AND charge_changes.created_at >= $2::date::timestamp AT TIME ZONE 'UTC'
    AND charge_changes.created_at < ($3::date + 1)::timestamp AT TIME ZONE 'UTC'
GROUP BY 1

-- name: agents
-- A wallet that is somebody's is they.
SELECT count(DISTINCT coalesce(agent_days.organization_id::text, agent_wallets.organization_id::text, payer))
FROM agent_days LEFT JOIN agent_wallets ON address = payer LEFT JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND day BETWEEN $2 AND $3 AND (asset_id IS NULL OR assets.mode = $4)

-- name: offers
SELECT coalesce(sum(offers), 0)::bigint FROM offer_days WHERE publisher_id = $1 AND day BETWEEN $2 AND $3

-- name: by_day
SELECT day, coalesce(assets.decimals, 0) AS decimals, coalesce(sum(cost), 0) AS cost, sum(calls)::bigint AS calls
FROM usage_days LEFT JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND day BETWEEN $2 AND $3 AND (asset_id IS NULL OR assets.mode = $4)
GROUP BY 1, 2

-- name: agents_by_day
SELECT day, count(DISTINCT coalesce(agent_days.organization_id::text, agent_wallets.organization_id::text, payer))
    AS agents
FROM agent_days LEFT JOIN agent_wallets ON address = payer LEFT JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND day BETWEEN $2 AND $3 AND (asset_id IS NULL OR assets.mode = $4)
GROUP BY day

-- name: top_agents
WITH agent AS (
    SELECT coalesce(agent_days.organization_id, agent_wallets.organization_id) AS organization_id,
        CASE WHEN coalesce(agent_days.organization_id, agent_wallets.organization_id) IS NULL THEN payer END AS payer,
        -- In millionths, rounded down for each asset of each agent.
        div(sum(cost) * 1000000, power(10::numeric, assets.decimals)) AS spent, sum(calls)::bigint AS calls,
        max(last_at) AS last_at
    FROM agent_days LEFT JOIN agent_wallets ON address = payer JOIN assets ON assets.id = asset_id
    WHERE publisher_id = $1 AND assets.mode = $2
    GROUP BY 1, 2, assets.decimals
), most AS (
    SELECT organization_id, payer, sum(spent)::bigint AS spent, sum(calls)::bigint AS calls, max(last_at) AS last_at
    FROM agent GROUP BY 1, 2
    ORDER BY sum(spent) DESC, max(last_at) DESC, 1, 2 LIMIT $3
)
SELECT most.*, coalesce(payer, (
        SELECT address FROM agent_wallets WHERE agent_wallets.organization_id = most.organization_id
        ORDER BY created_at, address LIMIT 1
    ), organization_id::text) AS wallet, coalesce((
        SELECT sum(div((posted - held) * 1000000, power(10::numeric, assets.decimals)))
        FROM accounts JOIN assets ON assets.id = accounts.asset_id
        WHERE owner_id = most.organization_id AND accounts.mode = $2 AND kind IN ('funded', 'promotional')
    ), 0)::bigint AS balance
FROM most ORDER BY spent DESC, last_at DESC, organization_id, payer

-- name: direct_charges
-- What was charged without a call is in the totals; no route took it in.
SELECT assets.decimals, sum(charged)::bigint AS charges, sum(cost) AS cost
FROM route_days JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND day BETWEEN $2 AND $3 AND assets.mode = $4 AND method = 'CHARGE'
GROUP BY 1

-- name: routes
SELECT method, route, sum(calls)::bigint AS calls, sum(charged)::bigint AS charged, sum(failed)::bigint AS failed,
    coalesce(sum(div(cost * 1000000, power(10::numeric, assets.decimals))), 0)::bigint AS revenue
FROM route_days LEFT JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1 AND day BETWEEN $2 AND $3 AND (asset_id IS NULL OR assets.mode = $4) AND method <> 'CHARGE'
GROUP BY 1, 2
ORDER BY revenue DESC, calls DESC, method, route LIMIT $5
