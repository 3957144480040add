-- name: record
INSERT INTO usage_events (call_id, publisher_id, organization_id, payer, rail, method, path, outcome, status,
    asset_id, cost)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::integer[], $10::uuid[], $11::numeric[])
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
