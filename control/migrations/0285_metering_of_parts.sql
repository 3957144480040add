-- Parts of a compute unit, and bytes that are sent while a server runs.

-- Thousandths of a unit times seconds. Null in what was counted before, by whole units.
ALTER TABLE meter_days ADD COLUMN milli_unit_seconds numeric(38, 0) CHECK (milli_unit_seconds >= 0);
-- Null in what an older process starts, which knows whole units only.
ALTER TABLE compute_runs ADD COLUMN milli_units integer CHECK (milli_units > 0);

-- How much of what was sent since a server was ready is counted. The same news told twice counts once.
CREATE TABLE egress_runs (
    endpoint_id uuid NOT NULL REFERENCES endpoints,
    started_at  timestamptz NOT NULL,
    counted     bigint NOT NULL CHECK (counted >= 0),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (endpoint_id, started_at)
);
