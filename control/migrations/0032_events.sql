-- What an organization may want to be told. Written by the statement that made it so, in the same commit.

CREATE TABLE events (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations,
    type            text NOT NULL CHECK (type IN ('wallet.balance_low', 'key.cap_near', 'key.cap_reached')),
    payload         jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON events (organization_id, created_at);
