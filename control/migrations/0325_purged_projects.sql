-- What a deleted project keeps is thrown away before its time: whoever deleted it wants the room.
ALTER TABLE projects ADD COLUMN purged_at timestamptz CHECK (purged_at IS NULL OR deleted_at IS NOT NULL);

-- Whoever makes a project is asked how many deleted ones are kept.
CREATE INDEX ON projects (organization_id, deleted_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL;
