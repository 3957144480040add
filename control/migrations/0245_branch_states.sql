-- What the runner of operations has to know of branches, endpoints and timelines, and what stops two of it.

-- `init` until its timeline is there, `swapping` while it is given another one: connections wait for both.
ALTER TABLE branches ADD COLUMN state text NOT NULL DEFAULT 'ready'
    CHECK (state IN ('init', 'ready', 'swapping', 'failed'));

-- When the status became what it is: news of an earlier moment that comes late changes nothing.
ALTER TABLE endpoints ADD COLUMN status_at timestamptz NOT NULL DEFAULT now();

-- The oldest point that can be gone back to, as of `measured_at`.
ALTER TABLE timelines ADD COLUMN horizon_lsn pg_lsn;
ALTER TABLE timelines ADD COLUMN horizon_at timestamptz;

-- In which order they were asked for; ids made in one millisecond are in none.
ALTER TABLE operations ADD COLUMN number bigint NOT NULL GENERATED ALWAYS AS IDENTITY;
ALTER TABLE operations ADD COLUMN lease_id uuid;
CREATE INDEX ON operations (project_id, number) WHERE status IN ('scheduling', 'running');
