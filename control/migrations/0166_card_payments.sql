-- What is paid by card, from before the processor is asked until after a bank took it back.

CREATE TABLE card_payments (
    -- Also what the processor knows it by: in its metadata, and in the idempotency key that makes it once.
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    created_by      uuid NOT NULL REFERENCES users,
    provider        text NOT NULL CHECK (provider IN ('stripe', 'polar')),
    asset_id        uuid NOT NULL REFERENCES assets,
    purpose         text NOT NULL CHECK (purpose IN ('deposit', 'invoice')),
    invoice_id      uuid,
    -- The Idempotency-Key of the request that asked for it.
    request_key     text,
    amount_cents    bigint NOT NULL CHECK (amount_cents > 0),
    -- The same in the asset's atomic unit.
    amount          numeric(78, 0) NOT NULL CHECK (amount > 0),
    state           text NOT NULL DEFAULT 'created' CHECK (state IN
        ('created', 'open', 'paid', 'failed', 'expired', 'canceled')),
    -- What it was booked as: an invoice that somebody else paid first leaves a deposit.
    booked_as       text CHECK (booked_as IN ('deposit', 'invoice')),
    session_id      text,
    intent_id       text,
    charge_id       text,
    url             text,
    referral_code   text,
    failure_code    text,
    failure_message text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    paid_at         timestamptz,
    failed_at       timestamptz,
    CHECK ((purpose = 'invoice') = (invoice_id IS NOT NULL)),
    CHECK ((state = 'paid') = (booked_as IS NOT NULL)),
    UNIQUE (organization_id, request_key),
    UNIQUE (provider, session_id),
    UNIQUE (provider, intent_id)
);
CREATE INDEX ON card_payments (invoice_id, created_at) WHERE invoice_id IS NOT NULL;
-- One way to pay an invoice at a time, so that nobody pays it by two.
CREATE UNIQUE INDEX card_payments_one_open ON card_payments (invoice_id)
    WHERE invoice_id IS NOT NULL AND state IN ('created', 'open');

-- A refund or a dispute: money that the processor gave back, or that a bank took.
CREATE TABLE card_reversals (
    id           uuid PRIMARY KEY,
    payment_id   uuid NOT NULL REFERENCES card_payments,
    provider     text NOT NULL CHECK (provider IN ('stripe', 'polar')),
    provider_id  text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('refund', 'dispute')),
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    amount       numeric(78, 0) NOT NULL CHECK (amount >= 0),
    -- Of the amount, what was still there or came in later, and what is not yet: a debt, never a negative balance.
    taken        numeric(78, 0) NOT NULL DEFAULT 0 CHECK (taken >= 0),
    owed         numeric(78, 0) NOT NULL DEFAULT 0 CHECK (owed >= 0),
    state        text NOT NULL DEFAULT 'standing' CHECK (state IN ('standing', 'returned')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    returned_at  timestamptz,
    CHECK (state = 'returned' OR taken + owed = amount),
    CHECK (state = 'standing' OR owed = 0),
    UNIQUE (provider, provider_id)
);
CREATE INDEX ON card_reversals (payment_id);
CREATE INDEX ON card_reversals (created_at, id) WHERE owed > 0;
