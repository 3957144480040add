-- name: standing
-- What a charge moved, less what its refunds moved back.
SELECT account_id, accounts.kind, accounts.asset_id, sum(entries.amount) AS amount
FROM transfers JOIN entries ON entries.transfer_id = transfers.id JOIN accounts ON accounts.id = account_id
WHERE (transfers.kind = 'charge' AND cause_id = $1)
    OR (transfers.kind = 'refund'
        AND cause_id IN (SELECT id FROM charge_changes WHERE charge_id = $1 AND charge_changes.kind = 'refund'))
GROUP BY account_id, accounts.kind, accounts.asset_id
