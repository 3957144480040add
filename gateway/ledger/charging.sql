-- name: standing
-- What a charge moved, less what its refunds moved back.
SELECT account_id, sum(entries.amount) AS amount
FROM transfers JOIN entries ON entries.transfer_id = transfers.id
WHERE (kind = 'charge' AND cause_id = $1)
    OR (kind = 'refund' AND cause_id IN (SELECT id FROM charge_changes WHERE charge_id = $1 AND kind = 'refund'))
GROUP BY account_id
