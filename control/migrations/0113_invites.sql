-- Invitations by mail: to an organization, or to one project of it. The link has the token; here is its hash.

CREATE TABLE invites (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    project_id      uuid REFERENCES projects,
    -- In lower case.
    email           text NOT NULL CHECK (email = lower(email)),
    role            text CHECK (role IN ('owner', 'admin', 'editor', 'viewer')),
    -- A role that is deleted meanwhile is granted to nobody: accepting finds that out.
    role_id         uuid,
    token_hash      bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    invited_by      uuid NOT NULL REFERENCES users,
    expires_at      timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    accepted_at     timestamptz,
    revoked_at      timestamptz,
    CHECK ((role IS NULL) <> (role_id IS NULL)),
    CHECK (project_id IS NULL OR role_id IS NULL)
);
-- Who is invited again gets a new link, and the old one is dead.
CREATE UNIQUE INDEX invites_pending ON invites (organization_id, project_id, email) NULLS NOT DISTINCT
    WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX ON invites (email) WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX ON invites (role_id) WHERE role_id IS NOT NULL;
