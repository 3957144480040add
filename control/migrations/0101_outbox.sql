-- Mail, written in the transaction that causes it and sent by the background jobs.

CREATE TABLE outbox (
    id         uuid PRIMARY KEY,
    recipient  text NOT NULL,
    subject    text NOT NULL,
    -- Emptied once it is sent: they may have a link that signs somebody in.
    body_text  text NOT NULL,
    body_html  text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- When to try next. While somebody tries, this is when to believe that they died of it.
    due_at     timestamptz NOT NULL DEFAULT now(),
    -- After that nobody can use what it says.
    expires_at timestamptz NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    sent_at    timestamptz,
    failed_at  timestamptz,
    -- Written for the trace it leaves, and for nobody to read.
    is_decoy   boolean NOT NULL DEFAULT false,
    last_error text
);
CREATE INDEX ON outbox (due_at) WHERE sent_at IS NULL AND failed_at IS NULL AND NOT is_decoy;
CREATE INDEX ON outbox (created_at);
