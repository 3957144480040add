-- Other people's authorization servers, and the accounts that users have there.

CREATE TABLE oauth_providers (
    id              uuid PRIMARY KEY,
    -- The platform's own are for everybody.
    organization_id uuid NOT NULL REFERENCES organizations,
    slug            text NOT NULL,
    name            text NOT NULL,
    description     text,
    logo_url        text,
    authorization_url text NOT NULL,
    token_url       text NOT NULL,
    revocation_url  text,
    userinfo_url    text,
    client_id       text NOT NULL,
    secret_sealed   bytea NOT NULL,
    scopes          text[] NOT NULL,
    custom_auth_params jsonb NOT NULL DEFAULT '{}',
    pkce_required   boolean NOT NULL,
    token_endpoint_auth_method text NOT NULL
        CHECK (token_endpoint_auth_method IN ('client_secret_post', 'client_secret_basic')),
    is_active       boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, slug)
);

-- A user's way to a provider, from being sent there until the tokens are had or ten minutes are over.
CREATE TABLE oauth_states (
    id              uuid PRIMARY KEY,
    hash            bytea NOT NULL UNIQUE,
    provider_id     uuid NOT NULL REFERENCES oauth_providers ON DELETE CASCADE,
    organization_id uuid NOT NULL REFERENCES organizations,
    user_id         uuid NOT NULL REFERENCES users,
    callback        text NOT NULL,
    redirect_uri    text NOT NULL,
    verifier_sealed bytea NOT NULL,
    -- What the provider said, while it is not known that whoever brought it is the user who asked.
    code_sealed     bytea,
    confirmation_hash bytea UNIQUE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((code_sealed IS NULL) = (confirmation_hash IS NULL))
);
CREATE INDEX ON oauth_states (created_at);

CREATE TABLE oauth_connections (
    id              uuid PRIMARY KEY,
    provider_id     uuid NOT NULL REFERENCES oauth_providers ON DELETE CASCADE,
    organization_id uuid NOT NULL REFERENCES organizations,
    user_id         uuid NOT NULL REFERENCES users,
    access_sealed   bytea NOT NULL,
    refresh_sealed  bytea,
    -- Null for a token that does not say.
    expires_at      timestamptz,
    scopes          text[] NOT NULL,
    provider_user_id text,
    provider_email  text,
    -- False once the provider took the refresh token back.
    is_valid        boolean NOT NULL DEFAULT true,
    -- Until then one process asks for new tokens, and the others wait for what it is given.
    refreshing_until timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, user_id, provider_id)
);
CREATE INDEX ON oauth_connections (provider_id);
