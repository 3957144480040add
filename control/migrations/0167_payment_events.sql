-- What processors told us, word for word, and what came of it.

CREATE TABLE payment_events (
    id          uuid PRIMARY KEY,
    provider    text NOT NULL CHECK (provider IN ('stripe', 'polar')),
    -- The processor's own id of the event: what comes again has the same.
    event_id    text NOT NULL,
    type        text NOT NULL,
    body        text NOT NULL,
    state       text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'ignored', 'failed')),
    -- Why it was ignored, or what went wrong last.
    note        text,
    attempts    integer NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL DEFAULT now(),
    received_at timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    UNIQUE (provider, event_id)
);
CREATE INDEX ON payment_events (due_at) WHERE state = 'waiting';
CREATE INDEX ON payment_events (received_at, id);
CREATE INDEX ON payment_events (state) WHERE state = 'failed';
