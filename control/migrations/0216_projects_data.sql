-- Projects' databases: what the providers of computes keep and run, as rows. `control/postgres` writes them.

-- Data that a branch can show. A branch points to one, and reset or restore make another.
CREATE TABLE timelines (
    id                 uuid PRIMARY KEY,
    project_id         uuid NOT NULL REFERENCES projects,
    parent_timeline_id uuid REFERENCES timelines,
    parent_lsn         pg_lsn,
    parent_at          timestamptz,
    state              text NOT NULL DEFAULT 'creating'
        CHECK (state IN ('creating', 'ready', 'archived', 'failed', 'deleted')),
    -- As of `measured_at`, so that no look at them wakes a server.
    head_lsn           pg_lsn,
    logical_bytes      bigint NOT NULL DEFAULT 0,
    history_bytes      bigint NOT NULL DEFAULT 0,
    measured_at        timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    deleted_at         timestamptz
);
CREATE INDEX ON timelines (project_id);

CREATE TABLE branches (
    id               uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects,
    name             text NOT NULL,
    timeline_id      uuid NOT NULL REFERENCES timelines,
    parent_branch_id uuid REFERENCES branches,
    parent_lsn       pg_lsn,
    parent_timestamp timestamptz,
    init_source      text NOT NULL DEFAULT 'parent-data' CHECK (init_source IN ('empty', 'parent-data', 'schema-only')),
    is_default       boolean NOT NULL DEFAULT false,
    is_archived      boolean NOT NULL DEFAULT false,
    is_protected     boolean NOT NULL DEFAULT false,
    expires_at       timestamptz,
    last_reset_at    timestamptz,
    created_by       uuid NOT NULL REFERENCES users,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    deleted_at       timestamptz,
    deleted_by       uuid REFERENCES users
);
CREATE UNIQUE INDEX ON branches (project_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX ON branches (project_id) WHERE is_default AND deleted_at IS NULL;
CREATE INDEX ON branches (parent_branch_id) WHERE deleted_at IS NULL;
CREATE INDEX ON branches (expires_at) WHERE expires_at IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE branch_protections (
    id                           uuid PRIMARY KEY,
    branch_id                    uuid NOT NULL UNIQUE REFERENCES branches,
    prevent_deletion             boolean NOT NULL DEFAULT true,
    prevent_reset                boolean NOT NULL DEFAULT true,
    require_approval_for_changes boolean NOT NULL DEFAULT false,
    allowed_bypass_roles         text[] NOT NULL DEFAULT '{}',
    created_at                   timestamptz NOT NULL DEFAULT now(),
    updated_at                   timestamptz NOT NULL DEFAULT now()
);

-- Where clients connect. The proxy finds one by its label, the first part of its host name.
CREATE TABLE endpoints (
    id                      uuid PRIMARY KEY,
    project_id              uuid NOT NULL REFERENCES projects,
    branch_id               uuid NOT NULL REFERENCES branches,
    label                   text NOT NULL UNIQUE CHECK (label ~ '^ep-[a-z0-9-]+$'),
    name                    text NOT NULL,
    endpoint_type           text NOT NULL DEFAULT 'read_write' CHECK (endpoint_type IN ('read_write', 'read_only')),
    primary_endpoint_id     uuid REFERENCES endpoints,
    compute_unit            numeric(6, 2) NOT NULL DEFAULT 0.25 CHECK (compute_unit > 0),
    autoscaling_min         integer NOT NULL DEFAULT 1,
    autoscaling_max         integer NOT NULL DEFAULT 1,
    suspend_timeout_seconds integer NOT NULL DEFAULT 300 CHECK (suspend_timeout_seconds >= 0),
    pooler_enabled          boolean NOT NULL DEFAULT true,
    pooler_mode             text NOT NULL DEFAULT 'transaction' CHECK (pooler_mode IN ('transaction', 'session')),
    status                  text NOT NULL DEFAULT 'idle'
        CHECK (status IN ('idle', 'starting', 'active', 'stopping', 'failed')),
    -- Stopped by hand: no connection wakes it.
    is_disabled             boolean NOT NULL DEFAULT false,
    last_active_at          timestamptz,
    created_by              uuid NOT NULL REFERENCES users,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    deleted_at              timestamptz
);
CREATE INDEX ON endpoints (branch_id) WHERE deleted_at IS NULL;
CREATE INDEX ON endpoints (project_id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX ON endpoints (branch_id) WHERE endpoint_type = 'read_write' AND deleted_at IS NULL;

-- What the proxy lets in: it checks the verifier before it wakes anything. Postgres has the same verifier.
CREATE TABLE database_roles (
    id         uuid PRIMARY KEY,
    branch_id  uuid NOT NULL REFERENCES branches,
    name       text NOT NULL,
    -- 'SCRAM-SHA-256$...'; null where a role was made by SQL without a password.
    verifier   text,
    -- Encrypted, for those who ask to see it; null where we never knew it.
    password   bytea,
    -- The owner that the branch came with.
    is_protected boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (branch_id, name)
);

CREATE TABLE databases (
    id         uuid PRIMARY KEY,
    branch_id  uuid NOT NULL REFERENCES branches,
    name       text NOT NULL,
    owner_name text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (branch_id, name)
);

-- Every long action, durable: who asked, how far it is, why it failed. Those of one branch run one after the other.
CREATE TABLE operations (
    id              uuid PRIMARY KEY,
    project_id      uuid NOT NULL REFERENCES projects,
    branch_id       uuid REFERENCES branches,
    endpoint_id     uuid REFERENCES endpoints,
    action          text NOT NULL,
    arguments       jsonb NOT NULL DEFAULT '{}',
    status          text NOT NULL DEFAULT 'scheduling'
        CHECK (status IN ('scheduling', 'running', 'finished', 'failed', 'cancelled')),
    failures_count  integer NOT NULL DEFAULT 0,
    error           text,
    due_at          timestamptz NOT NULL DEFAULT now(),
    -- Whoever runs it renews this; one whose lease is over is somebody else's.
    leased_until    timestamptz,
    created_by      uuid REFERENCES users,
    created_at      timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    finished_at     timestamptz,
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON operations (project_id, id DESC);
CREATE INDEX ON operations (branch_id, id) WHERE status IN ('scheduling', 'running');
CREATE INDEX ON operations (due_at) WHERE status IN ('scheduling', 'running');

CREATE TABLE ip_allow (
    id          uuid PRIMARY KEY,
    project_id  uuid NOT NULL REFERENCES projects,
    ip_address  cidr NOT NULL,
    description text,
    created_by  uuid NOT NULL REFERENCES users,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, ip_address)
);

CREATE TABLE vpc_endpoints (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    region          text NOT NULL,
    endpoint_id     text NOT NULL,
    label           text,
    state           text NOT NULL DEFAULT 'new',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, region, endpoint_id)
);

CREATE TABLE project_vpc_endpoints (
    id              uuid PRIMARY KEY,
    project_id      uuid NOT NULL REFERENCES projects,
    vpc_endpoint_id uuid NOT NULL REFERENCES vpc_endpoints ON DELETE CASCADE,
    label           text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, vpc_endpoint_id)
);

-- The ids of things that Postgres knows by name.
CREATE TABLE publications (
    id         uuid PRIMARY KEY,
    branch_id  uuid NOT NULL REFERENCES branches,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    database   text NOT NULL,
    UNIQUE (branch_id, database, name)
);

CREATE TABLE replication_slots (
    id         uuid PRIMARY KEY,
    branch_id  uuid NOT NULL REFERENCES branches,
    name       text NOT NULL,
    plugin     text NOT NULL,
    slot_type  text NOT NULL,
    database   text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (branch_id, name)
);
