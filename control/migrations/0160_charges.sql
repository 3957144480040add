-- What the operator's own publishers charge a wallet for without a call of its own, and what became of it.

-- Only who the operator marked so takes money that its owner did not send.
ALTER TABLE publishers ADD COLUMN is_first_party boolean NOT NULL DEFAULT false;

CREATE TABLE charges (
    -- Of its transfer and its usage row, too.
    id              uuid PRIMARY KEY,
    publisher_id    uuid NOT NULL REFERENCES publishers,
    payer_id        uuid NOT NULL REFERENCES organizations,
    agent_wallet    text NOT NULL CHECK (agent_wallet ~ '^0x[0-9a-f]{40}$'),
    asset_id        uuid NOT NULL REFERENCES assets,
    amount          numeric(78, 0) NOT NULL CHECK (amount > 0),
    fee             numeric(78, 0) NOT NULL CHECK (fee BETWEEN 0 AND amount),
    refunded        numeric(78, 0) NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount),
    slashed         numeric(78, 0) NOT NULL DEFAULT 0 CHECK (slashed BETWEEN 0 AND amount),
    description     text NOT NULL,
    idempotency_key uuid,
    -- SHA-256 of what that key stands for.
    digest          bytea NOT NULL CHECK (octet_length(digest) = 32),
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (publisher_id, idempotency_key)
);

-- Each is the cause of one transfer.
CREATE TABLE charge_changes (
    id         uuid PRIMARY KEY,
    charge_id  uuid NOT NULL REFERENCES charges,
    kind       text NOT NULL CHECK (kind IN ('refund', 'slash')),
    amount     numeric(78, 0) NOT NULL CHECK (amount > 0),
    reason     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON charge_changes (charge_id);
