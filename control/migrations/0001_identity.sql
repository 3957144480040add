-- People, agents, the organizations they belong to, and the keys that act for them.

CREATE TABLE users (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('person', 'agent')),
    name       text NOT NULL,
    email      text,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE organizations (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    slug        text NOT NULL UNIQUE,
    created_by  uuid NOT NULL REFERENCES users,
    is_personal boolean NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz
);

CREATE TABLE members (
    organization_id uuid NOT NULL REFERENCES organizations,
    user_id         uuid NOT NULL REFERENCES users,
    role            text NOT NULL CHECK (role IN ('owner', 'admin', 'editor', 'viewer')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX ON members (user_id);

CREATE TABLE api_keys (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    user_id         uuid NOT NULL REFERENCES users,
    name            text NOT NULL,
    -- Who holds it: a person's tool, or an agent.
    kind            text NOT NULL DEFAULT 'user' CHECK (kind IN ('user', 'agent')),
    -- The part that may be shown: enough to recognise the key by, not enough to use it.
    prefix          text NOT NULL,
    hash            bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    mode            text NOT NULL CHECK (mode IN ('live', 'test')),
    -- Null is a key that may do whatever its user may.
    scopes          text[],
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    revoked_at      timestamptz
);
CREATE INDEX ON api_keys (organization_id, id);

-- A payer address belongs to the organization that proved it, with a payment.
CREATE TABLE agent_wallets (
    address         text PRIMARY KEY CHECK (address ~ '^0x[0-9a-f]{40}$'),
    organization_id uuid NOT NULL REFERENCES organizations,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON agent_wallets (organization_id);

-- The platform is an organization like any other, so that it can own accounts and have members.
INSERT INTO users (id, kind, name) VALUES ('00000000-0000-7000-8000-000000000000', 'person', 'Operator');
INSERT INTO organizations (id, name, slug, created_by, is_personal)
VALUES ('00000000-0000-7000-8000-000000000000', 'Platform', 'platform', '00000000-0000-7000-8000-000000000000', false);
INSERT INTO members (organization_id, user_id, role)
VALUES ('00000000-0000-7000-8000-000000000000', '00000000-0000-7000-8000-000000000000', 'owner');
