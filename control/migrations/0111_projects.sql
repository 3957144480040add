-- Projects, which both management APIs show, and who is in one without being in its organization.

CREATE TABLE projects (
    id                         uuid PRIMARY KEY,
    organization_id            uuid NOT NULL REFERENCES organizations,
    name                       text NOT NULL,
    slug                       text NOT NULL CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    region                     text NOT NULL,
    block_public_connections   boolean NOT NULL DEFAULT false,
    block_vpc_connections      boolean NOT NULL DEFAULT false,
    hipaa                      boolean NOT NULL DEFAULT false,
    protected_branches_only    boolean NOT NULL DEFAULT false,
    enable_logical_replication boolean NOT NULL DEFAULT false,
    compute_unit_min           integer NOT NULL DEFAULT 1 CHECK (compute_unit_min > 0),
    compute_unit_max           integer NOT NULL DEFAULT 1,
    history_retention_seconds  bigint NOT NULL DEFAULT 21600 CHECK (history_retention_seconds >= 3600),
    created_by                 uuid NOT NULL REFERENCES users,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    deleted_at                 timestamptz,
    deleted_by                 uuid REFERENCES users,
    CHECK (compute_unit_max >= compute_unit_min)
);
-- A deleted project gives its slug back.
CREATE UNIQUE INDEX ON projects (slug) WHERE deleted_at IS NULL;
CREATE INDEX ON projects (organization_id, id) WHERE deleted_at IS NULL;

CREATE TABLE project_members (
    project_id uuid NOT NULL REFERENCES projects,
    user_id    uuid NOT NULL REFERENCES users,
    role       text NOT NULL CHECK (role IN ('admin', 'editor', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX ON project_members (user_id);

-- A key for one project has a role in it and does nothing outside.
ALTER TABLE api_keys
    ADD COLUMN project_id uuid REFERENCES projects,
    ADD COLUMN project_role text CHECK (project_role IN ('admin', 'editor', 'viewer')),
    -- The end of the key, which is all that some clients show.
    ADD COLUMN suffix text,
    ADD CHECK ((project_id IS NULL) = (project_role IS NULL));
CREATE INDEX ON api_keys (project_id) WHERE project_id IS NOT NULL;
