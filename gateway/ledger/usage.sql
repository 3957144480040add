-- name: record
-- Calls of which the same is said come together: the ids of some, and once what is said of them.
INSERT INTO usage_events (call_id, publisher_id, organization_id, payer, rail, method, path, outcome, status,
    asset_id, cost)
SELECT call_id, publisher_id, organization_id, payer, rail, method, path, outcome, status, asset_id, cost
FROM unnest(string_to_array($1, chr(31)), $2::text::uuid[], $3::text::uuid[],
    string_to_array($4, chr(31), ''), string_to_array($5, chr(31)), string_to_array($6, chr(31)),
    string_to_array($7, chr(31)), string_to_array($8, chr(31)), $9::text::integer[], $10::text::uuid[],
    $11::text::numeric[])
    AS said (call_ids, publisher_id, organization_id, payer, rail, method, path, outcome, status, asset_id, cost)
CROSS JOIN LATERAL unnest(call_ids::uuid[]) AS call_id
ON CONFLICT (call_id) DO NOTHING

-- name: disown
-- Rows from another cluster, numbered by transactions that this one has not come to yet: they are the past.
UPDATE usage_events SET written_in = 0 WHERE written_in >= $1

-- name: add_offers
INSERT INTO offer_days (publisher_id, day, offers)
SELECT publisher_id, (now() AT TIME ZONE 'UTC')::date, offers
FROM unnest($1::uuid[], $2::bigint[]) AS told (publisher_id, offers)
-- In order, so that two processes never wait in a circle.
ORDER BY publisher_id
ON CONFLICT (publisher_id, day) DO UPDATE SET offers = offer_days.offers + excluded.offers
