-- What was compared each night, and what was not as it should be.

CREATE TABLE reconciliations (
    id          uuid PRIMARY KEY,
    -- The night's, UTC; null for one that somebody asked for.
    day         date UNIQUE,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    -- The results as they are printed: a row for each check.
    results     jsonb,
    differences integer CHECK (differences >= 0),
    obstacles   integer CHECK (obstacles >= 0),
    CHECK ((finished_at IS NULL) = (results IS NULL)),
    CHECK ((finished_at IS NULL) = (differences IS NULL)),
    CHECK ((finished_at IS NULL) = (obstacles IS NULL))
);
CREATE INDEX ON reconciliations (finished_at DESC) WHERE finished_at IS NOT NULL;
