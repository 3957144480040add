-- x402 payments, from the claim of their nonce to the money in the ledger.

CREATE TABLE payments (
    id             uuid PRIMARY KEY,
    purpose        text NOT NULL CHECK (purpose IN ('call', 'deposit')),
    asset_id       uuid NOT NULL REFERENCES assets,
    payer          text NOT NULL CHECK (payer ~ '^0x[0-9a-f]{40}$'),
    nonce          bytea NOT NULL CHECK (octet_length(nonce) = 32),
    pay_to         text NOT NULL CHECK (pay_to ~ '^0x[0-9a-f]{40}$'),
    amount         numeric(78, 0) NOT NULL CHECK (amount > 0),
    valid_after    numeric(78, 0) NOT NULL,
    valid_before   numeric(78, 0) NOT NULL,
    signature      bytea NOT NULL CHECK (octet_length(signature) = 65),
    -- What it pays for: SHA-256 of method, host, path, query and body.
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    -- Who is credited when it settles: a publisher's earnings, or an organization's funded account.
    credit_id      uuid NOT NULL,
    -- False when it went straight to the publisher's wallet: recorded, not owed.
    is_owed        boolean NOT NULL,
    fee            numeric(78, 0) NOT NULL DEFAULT 0 CHECK (fee BETWEEN 0 AND amount),
    -- What the usage row will say, known from the moment settlement starts.
    usage          jsonb,
    state          text NOT NULL DEFAULT 'claimed'
        CHECK (state IN ('claimed', 'void', 'submitted', 'settled', 'failed')),
    failure        text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    closed_at      timestamptz,
    FOREIGN KEY (credit_id, asset_id) REFERENCES accounts (id, asset_id),
    -- An authorization is spent once, whatever it is sent with: this row is there before the upstream is called.
    UNIQUE (asset_id, payer, nonce)
);
CREATE INDEX ON payments (created_at) WHERE state IN ('claimed', 'submitted');

-- Each key that sends transactions hands out its account nonces here, one after another.
CREATE TABLE signers (
    network    text NOT NULL,
    address    text NOT NULL CHECK (address ~ '^0x[0-9a-f]{40}$'),
    next_nonce bigint NOT NULL CHECK (next_nonce >= 0),
    PRIMARY KEY (network, address)
);

-- Signed and stored before it is sent, so that a crash at any moment leaves something to ask the chain about.
CREATE TABLE chain_transactions (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    payment_id uuid NOT NULL REFERENCES payments,
    network    text NOT NULL,
    signer     text NOT NULL,
    nonce      bigint NOT NULL,
    raw        bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (network, signer, nonce),
    FOREIGN KEY (network, signer) REFERENCES signers (network, address)
);
CREATE INDEX ON chain_transactions (payment_id);
