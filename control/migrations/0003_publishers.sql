-- What a publisher sells, and for how much.

CREATE TABLE publishers (
    id                uuid PRIMARY KEY,
    organization_id   uuid NOT NULL REFERENCES organizations,
    slug              text NOT NULL,
    name              text NOT NULL,
    category          text NOT NULL CHECK (category IN ('database', 'integration', 'compute')),
    wallet_address    text NOT NULL,
    wallet_network_id text NOT NULL,
    api_url           text,
    auth_type         text NOT NULL,
    -- The auth mode's settings, sealed with AES-256-GCM; null for a publisher without an upstream credential.
    auth_sealed       bytea,
    -- Everything else that a client may set and read back, by the field names of the API.
    details           jsonb NOT NULL DEFAULT '{}',
    is_active         boolean NOT NULL DEFAULT true,
    is_verified       boolean NOT NULL DEFAULT false,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    deleted_at        timestamptz
);
-- A slug is a URL: two publishers never share one, and a deleted publisher gives its own back.
CREATE UNIQUE INDEX ON publishers (slug) WHERE deleted_at IS NULL;
CREATE INDEX ON publishers (organization_id, id) WHERE deleted_at IS NULL;

-- One row for each asset a publisher accepts. Prices are atomic units of that asset.
CREATE TABLE publisher_prices (
    publisher_id uuid NOT NULL REFERENCES publishers,
    asset_id     uuid NOT NULL REFERENCES assets,
    -- The order the publisher named its assets in; the first is its primary asset.
    position     integer NOT NULL,
    -- By the field names of the API: price_per_call, price_per_get, min_charge, ... as integers.
    prices       jsonb NOT NULL DEFAULT '{}',
    is_prepaid_enabled boolean NOT NULL DEFAULT true,
    is_onchain_enabled boolean NOT NULL DEFAULT true,
    PRIMARY KEY (publisher_id, asset_id)
);
