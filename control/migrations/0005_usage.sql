-- One row for each call that was decided: what it was, how it ended, what it cost.

CREATE TABLE usage_events (
    call_id         uuid PRIMARY KEY,
    publisher_id    uuid NOT NULL REFERENCES publishers,
    -- Null for a caller known only by its wallet.
    organization_id uuid REFERENCES organizations,
    payer           text,
    rail            text NOT NULL CHECK (rail IN ('free', 'prepaid', 'x402')),
    method          text NOT NULL,
    path            text NOT NULL,
    outcome         text NOT NULL CHECK (outcome IN ('charged', 'free', 'upstream_refused', 'upstream_failed',
        'upstream_timeout', 'settlement_failed', 'abandoned')),
    status          integer,
    asset_id        uuid REFERENCES assets,
    cost            numeric(78, 0) NOT NULL DEFAULT 0 CHECK (cost >= 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (cost = 0 OR (outcome = 'charged' AND asset_id IS NOT NULL))
);
CREATE INDEX ON usage_events (organization_id, created_at);
CREATE INDEX ON usage_events (publisher_id, created_at);
