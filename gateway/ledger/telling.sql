-- name: reached
-- Once a day for the day's cap, once for the total until it is changed, however many calls are refused.
WITH reached AS (
    UPDATE key_caps SET
        day_reached_on = CASE WHEN $2 = 'per_day' THEN (now() AT TIME ZONE 'UTC')::date ELSE day_reached_on END,
        is_total_reached = is_total_reached OR $2 = 'total'
    WHERE key_id = $1 AND CASE $2
        WHEN 'per_day' THEN day_reached_on IS DISTINCT FROM (now() AT TIME ZONE 'UTC')::date
        WHEN 'total' THEN NOT is_total_reached ELSE false END
    RETURNING key_id, CASE WHEN $2 = 'per_day' THEN per_day ELSE total END AS most,
        CASE WHEN $2 = 'per_day' THEN spent_today ELSE spent_total END AS spent
)
INSERT INTO events (organization_id, type, payload)
SELECT api_keys.organization_id, 'key.cap_reached', jsonb_build_object(
    'key_id', key_id, 'cap', $2::text, 'limit_millionths', most::text, 'spent_millionths', spent::text)
FROM reached JOIN api_keys ON api_keys.id = reached.key_id

-- name: low
INSERT INTO events (organization_id, type, payload)
SELECT owner_id, 'wallet.balance_low', jsonb_build_object(
    'asset_id', asset_id, 'threshold_atomic', $2::text, 'balance_atomic', $3::text)
FROM accounts WHERE id = $1
