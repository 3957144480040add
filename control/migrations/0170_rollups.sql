-- Usage by the hour and by the day, and what projects use besides calls.

-- The transaction that wrote a row. Rows become visible in the order of commits, which is that of no clock and no
-- sequence; but whatever transaction is older than the oldest one under way has ended. A row that is there already gets
-- the number of this migration. As bigint, for which there is a BRIN index: to keep it costs a call next to nothing.
ALTER TABLE usage_events ADD COLUMN written_in bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint;
CREATE INDEX usage_events_written_in ON usage_events USING brin (written_in) WITH (pages_per_range = 32, autosummarize = on);

-- Up to which transaction rows are counted. Transactions are numbered by the cluster, so a database that was restored
-- into another one is counted anew.
CREATE TABLE rollup_marks (
    name      text PRIMARY KEY,
    next_in   bigint NOT NULL DEFAULT 0,
    cluster   bigint NOT NULL DEFAULT 0,
    rolled_at timestamptz
);
INSERT INTO rollup_marks (name) VALUES ('usage');

CREATE TABLE usage_hours (
    publisher_id    uuid NOT NULL REFERENCES publishers,
    organization_id uuid REFERENCES organizations,
    asset_id        uuid REFERENCES assets,
    rail            text NOT NULL,
    outcome         text NOT NULL,
    hour            timestamptz NOT NULL,
    calls           bigint NOT NULL CHECK (calls > 0),
    cost            numeric(78, 0) NOT NULL CHECK (cost >= 0),
    UNIQUE NULLS NOT DISTINCT (publisher_id, hour, organization_id, asset_id, rail, outcome)
);
CREATE INDEX ON usage_hours (organization_id, hour);

-- Days are UTC.
CREATE TABLE usage_days (
    publisher_id    uuid NOT NULL REFERENCES publishers,
    organization_id uuid REFERENCES organizations,
    asset_id        uuid REFERENCES assets,
    rail            text NOT NULL,
    outcome         text NOT NULL,
    day             date NOT NULL,
    calls           bigint NOT NULL CHECK (calls > 0),
    cost            numeric(78, 0) NOT NULL CHECK (cost >= 0),
    UNIQUE NULLS NOT DISTINCT (publisher_id, day, organization_id, asset_id, rail, outcome)
);
CREATE INDEX ON usage_days (organization_id, day);
CREATE INDEX ON usage_days (day);

-- What a project used, added up by the day. `compute_units` is the size of what ran; a second of two units is two
-- compute seconds.
CREATE TABLE meter_days (
    organization_id uuid NOT NULL REFERENCES organizations,
    project_id      uuid NOT NULL REFERENCES projects,
    meter           text NOT NULL CHECK (meter IN
        ('active_seconds', 'storage_byte_hours', 'written_bytes', 'egress_bytes')),
    compute_units   integer NOT NULL DEFAULT 0 CHECK (compute_units >= 0),
    day             date NOT NULL,
    quantity        numeric(38, 0) NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (project_id, day, meter, compute_units, organization_id)
);
CREATE INDEX ON meter_days (organization_id, day);
CREATE INDEX ON meter_days (day);

-- A reading is counted once, by its id, however often it is sent.
CREATE TABLE meter_readings (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    project_id      uuid NOT NULL REFERENCES projects,
    endpoint_id     uuid,
    meter           text NOT NULL,
    compute_units   integer NOT NULL DEFAULT 0,
    quantity        numeric(38, 0) NOT NULL CHECK (quantity > 0),
    measured_at     timestamptz NOT NULL
);
CREATE INDEX ON meter_readings (endpoint_id, measured_at DESC) WHERE endpoint_id IS NOT NULL;

CREATE TABLE compute_events (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    endpoint_id     uuid NOT NULL,
    event_type      text NOT NULL CHECK (event_type IN ('started', 'resized', 'stopped')),
    compute_units   integer NOT NULL,
    happened_at     timestamptz NOT NULL
);
CREATE INDEX ON compute_events (endpoint_id, happened_at DESC);

-- What runs now, and up to when its seconds are counted.
CREATE TABLE compute_runs (
    endpoint_id   uuid PRIMARY KEY,
    project_id    uuid NOT NULL REFERENCES projects,
    compute_units integer NOT NULL CHECK (compute_units > 0),
    counted_until timestamptz NOT NULL
);
