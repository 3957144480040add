-- Whom an organization wants told of what, and what became of telling them.

-- The types are listed in gateway/ledger/event_types.py, and grow with the product. A payload is small enough to be sent
-- as a webhook, which is 20 kB with what goes around it.
ALTER TABLE events DROP CONSTRAINT events_type_check;
ALTER TABLE events ADD CONSTRAINT events_type_check CHECK (type ~ '^[a-z_]+\.[a-z_]+$');
ALTER TABLE events ADD CONSTRAINT events_payload_check CHECK (octet_length(payload::text) <= 16384);
CREATE INDEX ON events (created_at);

CREATE TABLE webhooks (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    name            text NOT NULL,
    url             text NOT NULL,
    -- "*" stands for every type.
    events          text[] NOT NULL CHECK (cardinality(events) > 0),
    is_enabled      boolean NOT NULL DEFAULT true,
    -- Why it is not enabled: somebody asked, the receiver answered 410, or it failed for days.
    disabled_reason text CHECK (disabled_reason IN ('asked', 'gone', 'failing')),
    disabled_at     timestamptz,
    -- Since when no attempt has succeeded; null while they do.
    failing_since   timestamptz,
    secret_sealed   bytea NOT NULL,
    -- The one before it signs too, until then.
    previous_sealed bytea,
    previous_until  timestamptz,
    created_by      uuid NOT NULL REFERENCES users,
    created_at      timestamptz NOT NULL DEFAULT now(),
    -- The worker that delivers to it now, and until when nobody else does.
    lease_id        uuid,
    leased_until    timestamptz NOT NULL DEFAULT now(),
    -- A row stays for a while: a paid call may be telling it something in this moment, and must not fail over that.
    deleted_at      timestamptz,
    CHECK (NOT is_enabled OR (disabled_reason IS NULL AND deleted_at IS NULL)),
    CHECK ((previous_sealed IS NULL) = (previous_until IS NULL))
);
CREATE INDEX ON webhooks (organization_id) WHERE deleted_at IS NULL;

-- One event on its way to one webhook.
CREATE TABLE webhook_deliveries (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook_id      uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    event_id        uuid NOT NULL REFERENCES events ON DELETE CASCADE,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempt_count   integer NOT NULL DEFAULT 0,
    due_at          timestamptz NOT NULL DEFAULT now(),
    created_at      timestamptz NOT NULL DEFAULT now(),
    delivered_at    timestamptz,
    -- What the last attempt met with.
    response_status integer,
    response_body   text,
    error_message   text,
    CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
);
CREATE INDEX ON webhook_deliveries (webhook_id, due_at) WHERE state = 'waiting';
CREATE INDEX ON webhook_deliveries (webhook_id, created_at DESC, id);
CREATE INDEX ON webhook_deliveries (event_id);

CREATE TABLE webhook_attempts (
    delivery_id     uuid NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    number          integer NOT NULL,
    started_at      timestamptz NOT NULL,
    milliseconds    integer NOT NULL,
    response_status integer,
    response_body   text,
    error_message   text,
    PRIMARY KEY (delivery_id, number)
);

-- An event and its deliveries are one commit, whoever writes the event. It reads one index and nothing in it can fail,
-- because a paid call may be waiting for it.
CREATE FUNCTION queue_webhook_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_deliveries (webhook_id, event_id)
    SELECT id, NEW.id FROM webhooks
    WHERE organization_id = NEW.organization_id AND deleted_at IS NULL AND is_enabled
        AND events && ARRAY[NEW.type, '*'];
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_webhook_deliveries AFTER INSERT ON events
    FOR EACH ROW EXECUTE FUNCTION queue_webhook_deliveries();
