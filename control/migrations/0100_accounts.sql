-- How people sign in: addresses, passwords, sessions, and the links that prove an address.

ALTER TABLE users ADD COLUMN email_verified_at timestamptz;
-- Argon2id in its own encoding, parameters and salt included. Null for agents, and for people until they have proved
-- their address: up to then a password is a claim that somebody made, and stays with the link.
ALTER TABLE users ADD COLUMN password_hash text;
ALTER TABLE users ADD COLUMN last_sign_in_at timestamptz;
ALTER TABLE users ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
-- A data: URL.
ALTER TABLE users ADD COLUMN avatar text CHECK (length(avatar) <= 400000);
-- An agent's address says where its owner is and proves nothing, so it is nobody's.
CREATE UNIQUE INDEX users_person_email ON users (lower(email)) WHERE kind = 'person';

CREATE TABLE sessions (
    id             uuid PRIMARY KEY,
    user_id        uuid NOT NULL REFERENCES users,
    user_agent     text,
    address        text,
    -- SHA-256 of the browser's cookie. Null where the session is a program's.
    cookie_hash    bytea UNIQUE CHECK (octet_length(cookie_hash) = 32),
    created_at     timestamptz NOT NULL DEFAULT now(),
    last_active_at timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    revoked_at     timestamptz
);
CREATE INDEX ON sessions (user_id, id);
CREATE INDEX ON sessions (expires_at);

-- Every refresh token of a session, the used ones too: one that comes a second time was copied.
CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz
);
CREATE INDEX ON refresh_tokens (session_id);

CREATE TABLE email_links (
    hash          bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    -- A decoy was sent to nobody: what is asked for unknown addresses leaves the same trace as for known ones.
    kind          text NOT NULL CHECK (kind IN ('verify', 'reset', 'magic', 'decoy')),
    email         text NOT NULL,
    user_id       uuid REFERENCES users,
    -- What somebody chose who had not proved yet that the address is theirs.
    name          text,
    password_hash text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    used_at       timestamptz,
    CHECK (kind = 'decoy' OR user_id IS NOT NULL)
);
CREATE INDEX ON email_links (email, created_at);
CREATE INDEX ON email_links (expires_at);
