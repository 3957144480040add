-- name: on_sale
SELECT slug, details -> 'endpoints' AS endpoints, details ->> 'undocumented_endpoint_policy' AS policy,
    database_sealed IS NOT NULL AS is_database, first_asset.prices
FROM publishers
CROSS JOIN LATERAL (
    SELECT prices FROM publisher_prices
    WHERE publisher_id = publishers.id AND is_onchain_enabled
    ORDER BY position LIMIT 1
) AS first_asset
WHERE deleted_at IS NULL AND is_active AND (api_url IS NOT NULL OR database_sealed IS NOT NULL)
ORDER BY is_verified DESC, id
LIMIT 1000

-- name: invoice
SELECT invoices.id, organization_id, asset_id, decimals, status, total_cents, paid_at, paid_source, paid_reference
FROM invoices JOIN assets ON assets.id = asset_id
WHERE invoices.id = $1 AND organization_id = $2 AND invoices.mode = $3

-- name: reversed
-- Payments of an invoice that a bank took back.
SELECT payment_id FROM invoice_reopenings JOIN card_reversals ON card_reversals.id = reversal_id
WHERE invoice_id = $1 AND withdrawn_at IS NULL
