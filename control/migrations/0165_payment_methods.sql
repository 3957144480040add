-- Cards, as their processor describes them. Their numbers never come here.

-- Who an organization is at a processor. Live and test money are other customers there.
CREATE TABLE processor_customers (
    organization_id uuid NOT NULL REFERENCES organizations,
    provider        text NOT NULL CHECK (provider IN ('stripe', 'polar')),
    mode            text NOT NULL CHECK (mode IN ('live', 'test')),
    provider_id     text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, provider, mode),
    UNIQUE (provider, provider_id)
);

CREATE TABLE payment_methods (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    provider        text NOT NULL CHECK (provider IN ('stripe', 'polar')),
    mode            text NOT NULL CHECK (mode IN ('live', 'test')),
    provider_id     text NOT NULL,
    type            text NOT NULL,
    brand           text,
    last4           text,
    exp_month       integer,
    exp_year        integer,
    -- The same for the same card, in whichever organization.
    fingerprint     text,
    is_default      boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    -- When the processor forgot it too.
    detached_at     timestamptz,
    CHECK (deleted_at IS NULL OR NOT is_default)
);
-- A card that was removed may be added again, as another row.
CREATE UNIQUE INDEX ON payment_methods (provider, provider_id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX ON payment_methods (organization_id, mode) WHERE is_default;
CREATE INDEX ON payment_methods (organization_id) WHERE deleted_at IS NULL;
CREATE INDEX ON payment_methods (deleted_at) WHERE deleted_at IS NOT NULL AND detached_at IS NULL;
