-- name: insert
INSERT INTO publishers (id, organization_id, slug, name, category, wallet_address, wallet_network_id, api_url,
    auth_type, auth_sealed, details, database_sealed)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (slug) WHERE deleted_at IS NULL DO NOTHING
RETURNING id

-- name: lock
SELECT id, name, category, wallet_address, wallet_network_id, api_url, auth_type, auth_sealed, details, is_active,
    database_sealed
FROM publishers
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
FOR UPDATE

-- name: look
SELECT id, name, category, wallet_address, wallet_network_id, api_url, auth_type, auth_sealed, details, is_active,
    database_sealed
FROM publishers
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL

-- name: update
UPDATE publishers
SET name = $2, category = $3, wallet_address = $4, wallet_network_id = $5, api_url = $6, auth_type = $7,
    auth_sealed = $8, details = $9, is_active = $10, database_sealed = $11, updated_at = now()
WHERE id = $1

-- name: delete
UPDATE publishers SET deleted_at = now(), is_active = false, updated_at = now()
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING id

-- name: set_pricing
INSERT INTO publisher_prices (publisher_id, asset_id, position, prices, is_prepaid_enabled, is_onchain_enabled)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (publisher_id, asset_id) DO UPDATE
SET position = excluded.position, prices = excluded.prices,
    is_prepaid_enabled = excluded.is_prepaid_enabled, is_onchain_enabled = excluded.is_onchain_enabled

-- name: drop_pricing
DELETE FROM publisher_prices WHERE publisher_id = $1 AND asset_id = ANY($2::uuid[])

-- name: pricing
SELECT asset_id, position, prices, is_prepaid_enabled, is_onchain_enabled,
    assets.decimals, assets.mode, assets.symbol
FROM publisher_prices JOIN assets ON assets.id = asset_id
WHERE publisher_id = $1
ORDER BY position

-- name: assets
SELECT id, network, mode, decimals, symbol FROM assets
WHERE network = $1 OR id = ANY($2::uuid[])
ORDER BY created_at, id

-- name: networks
SELECT DISTINCT network FROM assets ORDER BY network

-- name: ids_of_organization
SELECT id FROM publishers
WHERE organization_id = $1 AND deleted_at IS NULL
ORDER BY id
LIMIT $2 OFFSET $3

-- name: count_of_organization
SELECT count(*) FROM publishers WHERE organization_id = $1 AND deleted_at IS NULL

-- name: ids_of_store
SELECT id FROM publishers
WHERE deleted_at IS NULL AND suspended_at IS NULL AND is_active
  AND organization_id NOT IN (SELECT id FROM organizations WHERE organizations.suspended_at IS NOT NULL)
  AND ($1::boolean IS NULL OR is_verified = $1)
  AND ($2::text IS NULL OR category = $2)
  AND ($3::text IS NULL OR strpos(lower(name), lower($3)) > 0 OR strpos(slug, lower($3)) > 0)
ORDER BY is_verified DESC, id
LIMIT $4 OFFSET $5

-- name: count_of_store
SELECT count(*) FROM publishers
WHERE deleted_at IS NULL AND suspended_at IS NULL AND is_active
  AND organization_id NOT IN (SELECT id FROM organizations WHERE organizations.suspended_at IS NOT NULL)
  AND ($1::boolean IS NULL OR is_verified = $1)
  AND ($2::text IS NULL OR category = $2)
  AND ($3::text IS NULL OR strpos(lower(name), lower($3)) > 0 OR strpos(slug, lower($3)) > 0)

-- name: id_of_slug
SELECT id FROM publishers WHERE slug = $1 AND deleted_at IS NULL AND suspended_at IS NULL AND is_active
    AND organization_id NOT IN (SELECT id FROM organizations WHERE organizations.suspended_at IS NOT NULL)

-- name: show
SELECT publishers.id, name, slug, category AS publisher_category, wallet_address, wallet_network_id, api_url,
    auth_type, details, is_active, is_verified, created_at, updated_at,
    priced.assets, used.total_queries, used.unique_agents_served, used.total_revenue_atomic
FROM publishers
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'id', assets.id, 'symbol', assets.symbol, 'name', assets.name, 'decimals', assets.decimals,
        'network', assets.network, 'address', assets.address, 'prices', prices,
        'prepaid_enabled', is_prepaid_enabled, 'onchain_enabled', is_onchain_enabled
    ) ORDER BY position), '[]') AS assets
    FROM publisher_prices JOIN assets ON assets.id = publisher_prices.asset_id
    WHERE publisher_prices.publisher_id = publishers.id
) AS priced
CROSS JOIN LATERAL (
    SELECT count(*) AS total_queries,
        count(DISTINCT coalesce(usage_events.organization_id::text, payer)) AS unique_agents_served,
        coalesce(sum(cost), 0) AS total_revenue_atomic
    FROM usage_events WHERE usage_events.publisher_id = publishers.id
) AS used
WHERE publishers.id = ANY($1::uuid[])

-- name: candidates
-- Enough to rank by; the words are ranked properly afterwards.
SELECT publishers.id, slug, name, details ->> 'description' AS description, details -> 'capabilities' AS capabilities,
    details -> 'categories' AS categories, details -> 'use_cases' AS use_cases,
    first_asset.symbol, first_asset.decimals, first_asset.prices
FROM publishers
LEFT JOIN LATERAL (
    SELECT assets.symbol, assets.decimals, prices
    FROM publisher_prices JOIN assets ON assets.id = asset_id
    WHERE publisher_id = publishers.id
    ORDER BY position LIMIT 1
) AS first_asset ON true
WHERE deleted_at IS NULL AND suspended_at IS NULL AND is_active
    AND organization_id NOT IN (SELECT id FROM organizations WHERE organizations.suspended_at IS NOT NULL) AND EXISTS (
    SELECT FROM unnest($1::text[]) AS word
    WHERE strpos(lower(concat_ws(' ', name, slug, details ->> 'description', details ->> 'capabilities',
        details ->> 'categories', details ->> 'use_cases')), word) > 0
)
ORDER BY is_verified DESC, publishers.id
LIMIT 1000

-- name: sealed_ids
SELECT id FROM publishers WHERE auth_sealed IS NOT NULL OR database_sealed IS NOT NULL ORDER BY id

-- name: lock_sealed
SELECT organization_id, auth_sealed, database_sealed FROM publishers WHERE id = $1 FOR UPDATE

-- name: replace_sealed
UPDATE publishers SET auth_sealed = $2, database_sealed = $3 WHERE id = $1

-- name: put_logo
INSERT INTO publisher_logos (publisher_id, content_type, content) VALUES ($1, $2, $3)
ON CONFLICT (publisher_id) DO UPDATE
SET content_type = excluded.content_type, content = excluded.content, updated_at = now()

-- name: show_logo_at
UPDATE publishers SET details = details || jsonb_build_object('logo_url', $3::text), updated_at = now()
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING id

-- name: logo
SELECT slug, details ->> 'logo_url' AS logo_url, content_type, content
FROM publishers LEFT JOIN publisher_logos ON publisher_id = id
WHERE (slug = $1 OR id = $2) AND deleted_at IS NULL AND suspended_at IS NULL AND is_active
    AND organization_id NOT IN (SELECT id FROM organizations WHERE organizations.suspended_at IS NOT NULL)

-- name: slug
SELECT slug FROM publishers WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL

-- name: set_standing
UPDATE publishers
SET is_verified = coalesce($2, is_verified),
    is_first_party = coalesce($4, is_first_party),
    suspended_at = CASE WHEN $3::boolean IS NULL THEN suspended_at WHEN $3 THEN coalesce(suspended_at, now()) END,
    updated_at = now()
WHERE id = $1 AND deleted_at IS NULL
RETURNING id, slug, organization_id, is_active, is_verified, is_first_party, suspended_at

-- name: find_provider
SELECT id FROM oauth_providers
WHERE organization_id IN ($1, $3) AND (slug = $2 OR id::text = $2) AND is_active
ORDER BY organization_id = $1 DESC LIMIT 1

-- name: has_branch
SELECT EXISTS (
    SELECT FROM branches JOIN projects ON projects.id = project_id AND projects.deleted_at IS NULL
    WHERE branches.id = $1 AND organization_id = $2 AND branches.deleted_at IS NULL
        AND ($3::uuid IS NULL OR project_id = $3)
)
