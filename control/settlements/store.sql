-- name: receipt
WITH call AS (
    SELECT holds.call_id AS id, payer.owner_id, holds.asset_id, state, coalesce(spent, 0) AS spent,
        expires_at <= now() AS is_over,
        coalesce(transfers.created_at, expires_at) AS changed_at
    FROM holds JOIN accounts AS payer ON payer.id = holds.payer_id
        LEFT JOIN transfers ON transfers.cause_id = holds.call_id AND transfers.kind = 'charge'
    WHERE call_id = $3
    UNION ALL
    -- Paid from a purse: what it was for is told once it has ended.
    SELECT call_id, organization_id, coalesce(asset_id, (
            SELECT asset_id FROM accounts
            WHERE owner_id = organization_id AND kind = 'funded' AND accounts.mode = $2 ORDER BY id LIMIT 1
        )), CASE WHEN outcome IN ('charged', 'free') THEN 'posted' ELSE 'void' END, cost, false, created_at
    FROM usage_events
    WHERE call_id = $3 AND rail = 'prepaid' AND NOT EXISTS (SELECT FROM holds WHERE call_id = $3)
        AND NOT EXISTS (SELECT FROM charges WHERE id = $3)
    UNION ALL
    SELECT payments.id, agent_wallets.organization_id, asset_id,
        CASE payments.state WHEN 'settled' THEN 'posted' WHEN 'claimed' THEN 'open' WHEN 'submitted' THEN 'open'
            ELSE 'void' END,
        amount, false, coalesce(closed_at, payments.created_at)
    FROM payments JOIN agent_wallets ON agent_wallets.address = payer
    WHERE payments.id = $3 AND purpose <> 'facilitated'
    UNION ALL
    SELECT id, payer_id, asset_id, CASE WHEN refunded = amount THEN 'refunded' ELSE 'posted' END, amount, false,
        coalesce((SELECT max(created_at) FROM charge_changes WHERE charge_id = charges.id), created_at)
    FROM charges WHERE id = $3
)
SELECT call.id AS receipt_id, symbol AS asset, decimals, spent, changed_at AS updated_at,
    CASE
        WHEN state = 'open' THEN 'pending'
        WHEN state = 'void' THEN CASE WHEN is_over THEN 'expired' ELSE 'cancelled' END
        WHEN state = 'refunded' THEN 'refunded'
        ELSE 'paid'
    END AS status
FROM call JOIN assets ON assets.id = call.asset_id
WHERE owner_id = $1 AND assets.mode = $2
