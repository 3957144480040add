-- Amounts are whole atomic units of the asset. 78 digits hold any uint256.

CREATE TABLE assets (
    -- UUIDv5 of the CAIP-19 name, so that an asset has one id everywhere.
    id         uuid PRIMARY KEY,
    network    text NOT NULL,
    address    text NOT NULL CHECK (address ~ '^0x[0-9a-f]{40}$'),
    symbol     text NOT NULL,
    name       text NOT NULL,
    version    text NOT NULL,
    decimals   integer NOT NULL CHECK (decimals BETWEEN 0 AND 36),
    mode       text NOT NULL CHECK (mode IN ('live', 'test')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (id, mode)
);

CREATE TABLE accounts (
    id       uuid PRIMARY KEY,
    owner_id uuid NOT NULL REFERENCES organizations,
    asset_id uuid NOT NULL,
    mode     text NOT NULL,
    kind     text NOT NULL CHECK (kind IN
        ('funded', 'promotional', 'earnings', 'fees', 'promotion_budget', 'chain', 'stripe')),
    posted   numeric(78, 0) NOT NULL DEFAULT 0,
    held     numeric(78, 0) NOT NULL DEFAULT 0 CHECK (held >= 0),
    -- Money comes from outside through the clearing accounts, so they alone go below zero.
    CHECK (kind IN ('chain', 'stripe') OR posted - held >= 0),
    UNIQUE (owner_id, asset_id, kind),
    UNIQUE (id, asset_id),
    FOREIGN KEY (asset_id, mode) REFERENCES assets (id, mode)
);

CREATE TABLE transfers (
    id          uuid PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('charge', 'deposit', 'payout')),
    -- The call or the payment it belongs to.
    cause_id    uuid NOT NULL,
    description text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- A cause moves money of one kind once, whoever tries twice.
    UNIQUE (cause_id, kind)
);

CREATE TABLE entries (
    transfer_id uuid NOT NULL REFERENCES transfers,
    account_id  uuid NOT NULL REFERENCES accounts,
    amount      numeric(78, 0) NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (transfer_id, account_id)
);
CREATE INDEX ON entries (account_id, transfer_id);

CREATE TABLE holds (
    call_id    uuid PRIMARY KEY,
    payer_id   uuid NOT NULL,
    payee_id   uuid NOT NULL CHECK (payee_id <> payer_id),
    asset_id   uuid NOT NULL,
    amount     numeric(78, 0) NOT NULL CHECK (amount > 0),
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'posted', 'void')),
    spent      numeric(78, 0) CHECK (spent BETWEEN 0 AND amount),
    expires_at timestamptz NOT NULL,
    CHECK ((state = 'posted') = (spent IS NOT NULL)),
    -- Both sides hold the same asset, and an asset is live or test: test money never buys a live call.
    FOREIGN KEY (payer_id, asset_id) REFERENCES accounts (id, asset_id),
    FOREIGN KEY (payee_id, asset_id) REFERENCES accounts (id, asset_id)
);
CREATE INDEX ON holds (expires_at) WHERE state = 'open';

-- Checked per statement, so one statement writes a whole transfer and a batch of them costs one check.
CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM written JOIN accounts ON accounts.id = written.account_id
        GROUP BY transfer_id, asset_id HAVING sum(amount) <> 0
    ) THEN
        RAISE check_violation USING MESSAGE = 'the entries of a transfer do not sum to zero';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER sum_to_zero AFTER INSERT ON entries REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE check_violation USING MESSAGE = TG_TABLE_NAME || ' are append-only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
