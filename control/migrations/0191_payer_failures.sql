-- How often in a row a payer's payments did not settle: the upstream was called for nothing, and gas was spent on a
-- transfer that reverts. Forgotten with its next payment that settles, and an hour after the last one that did not.
CREATE TABLE payer_failures (
    payer     text PRIMARY KEY,
    failures  integer NOT NULL CHECK (failures > 0),
    failed_at timestamptz NOT NULL DEFAULT now()
);
