-- name: write
-- Twice where a commit was not heard of: it has the same payments then.
INSERT INTO payment_slips (id, payment_ids, hashes) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING

-- name: left_over
SELECT id, payment_ids, hashes FROM payment_slips WHERE id > $1 AND written_at < now() - $2::interval ORDER BY id LIMIT 64

-- name: remove
DELETE FROM payment_slips WHERE id = ANY ($1::uuid[])
