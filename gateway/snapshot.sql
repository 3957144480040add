-- name: version
SELECT version FROM change_version

-- name: prune
DELETE FROM changes WHERE created_at < now() - interval '1 day'

-- name: changes
SELECT version, topic, id FROM changes WHERE version > $1 ORDER BY version

-- name: publishers
SELECT id, organization_id, slug, name, category, api_url, wallet_address, wallet_network_id, auth_type, auth_sealed,
    database_sealed, details,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object(
            'asset_id', publisher_prices.asset_id,
            'earnings_id', accounts.id,
            'prices', prices,
            'is_prepaid_enabled', is_prepaid_enabled,
            'is_onchain_enabled', is_onchain_enabled
        ) ORDER BY position)
        FROM publisher_prices JOIN accounts ON accounts.asset_id = publisher_prices.asset_id
            AND accounts.owner_id = publishers.organization_id AND accounts.kind = 'earnings'
        WHERE publisher_id = publishers.id
    ), '[]') AS pricing
FROM publishers
WHERE deleted_at IS NULL AND suspended_at IS NULL AND is_active AND (api_url IS NOT NULL OR database_sealed IS NOT NULL) AND ($1::uuid IS NULL OR id = $1)
    AND organization_id NOT IN (SELECT id FROM organizations WHERE organizations.suspended_at IS NOT NULL)

-- name: key
SELECT api_keys.id, api_keys.organization_id, api_keys.user_id, mode, expires_at,
    EXISTS (SELECT FROM key_caps WHERE key_id = api_keys.id) AS is_capped,
    (SELECT until FROM quota_blocks WHERE quota_blocks.organization_id = api_keys.organization_id AND until > now())
        AS blocked_until
FROM api_keys JOIN organizations ON organizations.id = api_keys.organization_id
    JOIN members ON members.organization_id = api_keys.organization_id AND members.user_id = api_keys.user_id
    JOIN users ON users.id = api_keys.user_id AND users.suspended_at IS NULL
    LEFT JOIN roles ON roles.id = members.role_id
WHERE hash = $1 AND (scopes IS NULL OR 'wallet.spend' = ANY (scopes)) AND project_id IS NULL
    AND (members.role <> 'viewer' OR 'wallet.spend' = ANY (roles.permissions))
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    AND organizations.deleted_at IS NULL AND organizations.suspended_at IS NULL
