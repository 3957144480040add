-- name: settled
SELECT payments.id, network, address AS asset, payer, pay_to, amount, known_hash
FROM payments JOIN assets ON assets.id = asset_id
WHERE state = 'settled' AND purpose <> 'facilitated' AND lost_at IS NULL AND closed_at >= $1 AND payments.id > $2
ORDER BY payments.id LIMIT $3
