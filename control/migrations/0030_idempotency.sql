-- Calls and requests that may be sent again, and the answers that they are then given.

-- A row is here while its call runs and after it was charged: a call that cost nothing gives its key back.
CREATE TABLE idempotency_keys (
    organization_id uuid NOT NULL,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    call_id         uuid NOT NULL UNIQUE,
    -- SHA-256 of the request that it belongs to.
    digest          bytea NOT NULL CHECK (octet_length(digest) = 32),
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, name)
);
CREATE INDEX ON idempotency_keys (created_at);

ALTER TABLE holds ADD COLUMN is_keyed boolean NOT NULL DEFAULT false;

-- What an upstream answered to a call that was charged, or to one whose settlement is not known yet.
CREATE TABLE answers (
    call_id    uuid PRIMARY KEY,
    -- The status line and the headers, as bytes: they need not be text in any encoding.
    head       bytea NOT NULL,
    body       bytea,
    -- Why there is no body here.
    omitted    text CHECK (omitted IN ('too_large', 'cut_short')),
    -- Who may have it again: a payment is public once it is on chain. Null where a key says who asks.
    senders    text[],
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((body IS NULL) = (omitted IS NOT NULL))
);
-- Bodies are mostly compressed already, and nobody searches them.
ALTER TABLE answers ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX ON answers (created_at);

-- Requests to the management API that created something.
CREATE TABLE idempotent_requests (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    digest          bytea NOT NULL CHECK (octet_length(digest) = 32),
    -- Null until the operation has answered. Sealed: an answer may have a key that is shown once.
    status          integer,
    answer          bytea,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, name),
    CHECK ((status IS NULL) = (answer IS NULL))
);
CREATE INDEX ON idempotent_requests (created_at);
