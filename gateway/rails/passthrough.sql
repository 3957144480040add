-- name: claim
-- One that never came back, because its process died or its upstream fell silent, can be sent again once no call of
-- that time can still be running.
INSERT INTO upstream_payments (identity, call_id, request_digest) VALUES ($1, $2, $3)
ON CONFLICT (identity) DO UPDATE
    SET call_id = excluded.call_id, request_digest = excluded.request_digest, claimed_at = now()
    WHERE upstream_payments.used_at IS NULL AND upstream_payments.claimed_at < now() - $4::interval
RETURNING call_id

-- name: find
SELECT call_id, request_digest, used_at IS NOT NULL AS is_used, fee,
    greatest(extract(epoch FROM claimed_at + $2::interval - now()), 1)::bigint AS seconds_left
FROM upstream_payments WHERE identity = $1

-- name: use
UPDATE upstream_payments SET used_at = now() WHERE identity = $1 AND call_id = $2

-- name: tell_fee
UPDATE upstream_payments SET fee = $2 WHERE identity = $1 AND fee IS NULL AND used_at IS NOT NULL

-- name: retake_fee
-- Of two calls that pay the fee that a first one failed to, one does.
UPDATE upstream_payments SET fee = NULL WHERE identity = $1 AND fee = 'failed'
RETURNING call_id

-- name: release
DELETE FROM upstream_payments WHERE identity = $1 AND call_id = $2 AND used_at IS NULL

-- name: prune
DELETE FROM upstream_payments WHERE claimed_at < now() - $1::interval
