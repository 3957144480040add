-- What was last seen of publications and slots, so that a look at them wakes nothing.

ALTER TABLE publications
    -- Empty for one of all tables.
    ADD COLUMN tables           text[] NOT NULL DEFAULT '{}',
    ADD COLUMN publish_insert   boolean NOT NULL DEFAULT true,
    ADD COLUMN publish_update   boolean NOT NULL DEFAULT true,
    ADD COLUMN publish_delete   boolean NOT NULL DEFAULT true,
    ADD COLUMN publish_truncate boolean NOT NULL DEFAULT true;

ALTER TABLE replication_slots
    ADD COLUMN status              text NOT NULL DEFAULT 'inactive' CHECK (status IN ('active', 'inactive', 'lost')),
    ADD COLUMN active_pid          integer,
    ADD COLUMN restart_lsn         pg_lsn,
    ADD COLUMN confirmed_flush_lsn pg_lsn;

-- In which order they were made: ids made in one millisecond are in none. The first is meant when nobody says which.
ALTER TABLE databases ADD COLUMN number bigint NOT NULL GENERATED ALWAYS AS IDENTITY;

ALTER TABLE project_vpc_endpoints ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
