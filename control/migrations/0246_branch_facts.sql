-- What the API tells of branches and endpoints without asking, let alone waking, whoever runs them.

-- A backup of this branch, made when it was restored, may be deleted although the branch counts as its child.
ALTER TABLE branches ADD COLUMN preserves_branch_id uuid REFERENCES branches;

ALTER TABLE endpoints ADD COLUMN active_since timestamptz;
ALTER TABLE endpoints ADD COLUMN active_milliseconds bigint NOT NULL DEFAULT 0;
-- As the provider told last, some seconds ago.
ALTER TABLE endpoints ADD COLUMN connection_count integer NOT NULL DEFAULT 0;

ALTER TABLE timelines ADD COLUMN postgres_version text;

CREATE INDEX ON operations (finished_at) WHERE finished_at IS NOT NULL;
