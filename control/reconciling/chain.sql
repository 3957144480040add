-- name: settled
-- Payments, and payouts that we sent ourselves: what is signed for either is in one table, and their ids are of one kind.
SELECT * FROM (
    SELECT payments.id, 'payment' AS noun, network, address AS asset, payer, pay_to, amount, known_hash
    FROM payments JOIN assets ON assets.id = asset_id
    WHERE state = 'settled' AND purpose <> 'facilitated' AND lost_at IS NULL AND closed_at >= $1
    UNION ALL
    SELECT payouts.id, 'payout', network, address, source, destination, amount, known_hash
    FROM payouts JOIN assets ON assets.id = asset_id
    WHERE state IN ('sent', 'returned') AND NOT is_manual AND closed_at >= $1
) AS moved
WHERE id > $2 ORDER BY id LIMIT $3
