-- name: write
-- In the order of the ids, so that processes that write the same keys never wait for each other in a circle. What was
-- written less than a minute ago is good enough.
INSERT INTO key_uses (key_id, used_at)
SELECT id, now() FROM api_keys WHERE id = ANY ($1::uuid[]) ORDER BY id
ON CONFLICT (key_id) DO UPDATE SET used_at = excluded.used_at
WHERE key_uses.used_at < now() - interval '1 minute'
