-- Who chose which plan, when, and at which price; who is beyond a quota, and who was told.

CREATE TABLE organization_plans (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    plan_id         uuid NOT NULL,
    -- Its name in the settings, and the one that people read.
    tier            text NOT NULL,
    plan_name       text NOT NULL,
    -- What was agreed on; the catalogue may change.
    price_cents     bigint NOT NULL CHECK (price_cents >= 0),
    started_at      timestamptz NOT NULL,
    ends_at         timestamptz CHECK (ends_at >= started_at),
    cancelled_at    timestamptz,
    cancelled_by    uuid,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
-- One follows the other: who has an end has a successor, and one of them has none.
CREATE UNIQUE INDEX ON organization_plans (organization_id) WHERE ends_at IS NULL;
CREATE INDEX ON organization_plans (organization_id, started_at);

-- Gateways refuse the calls of an organization until then.
CREATE TABLE quota_blocks (
    organization_id uuid PRIMARY KEY REFERENCES organizations,
    until           timestamptz NOT NULL
);
CREATE CONSTRAINT TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON quota_blocks
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_change('api_key', 'organization_id');

-- Each level of a quota is told once in a month, whatever goes up and down meanwhile.
CREATE TABLE quota_warnings (
    organization_id uuid NOT NULL REFERENCES organizations,
    quota           text NOT NULL,
    month           date NOT NULL,
    percent         smallint NOT NULL CHECK (percent IN (80, 100)),
    warned_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, month, quota, percent)
);
