-- Payments that callers send on to upstreams which ask for one themselves. The row is there before the upstream is
-- called, so a payment is with an upstream once at a time, and never again after it bought an answer.

CREATE TABLE upstream_payments (
    -- SHA-256 of its payer and its nonce, or of all that it is.
    identity       bytea PRIMARY KEY CHECK (octet_length(identity) = 32),
    call_id        uuid NOT NULL,
    -- What it was sent with: SHA-256 of method, publisher, URL and body.
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    claimed_at     timestamptz NOT NULL DEFAULT now(),
    -- When the upstream answered with success.
    used_at        timestamptz,
    -- What became of the gateway's fee for that answer; NULL while nobody knows.
    fee            text CHECK (fee IN ('paid', 'failed')),
    CHECK (fee IS NULL OR used_at IS NOT NULL)
);
CREATE INDEX ON upstream_payments (claimed_at);
