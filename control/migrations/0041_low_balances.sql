-- Since when a caller's balance has been below what a publisher asks for, as its calls found it.

CREATE TABLE low_balances (
    publisher_id    uuid NOT NULL REFERENCES publishers,
    organization_id uuid NOT NULL REFERENCES organizations,
    asset_id        uuid NOT NULL REFERENCES assets,
    since           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (publisher_id, organization_id, asset_id)
);
