-- name: record
INSERT INTO usage_events (call_id, publisher_id, organization_id, payer, rail, method, path, outcome, status,
    asset_id, cost)
SELECT * FROM unnest($1::text::uuid[], $2::text::uuid[], $3::text::uuid[], string_to_array($4, chr(31), ''),
    string_to_array($5, chr(31)), string_to_array($6, chr(31)), string_to_array($7, chr(31)),
    string_to_array($8, chr(31)), $9::text::integer[], $10::text::uuid[], $11::text::numeric[])
ON CONFLICT (call_id) DO NOTHING
