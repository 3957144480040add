-- Promotional money: what was given, to be spent before anything else and until it expires.

CREATE TABLE grants (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    -- The organization's promotional account: it has what its grants have left, to the atomic unit.
    account_id      uuid NOT NULL,
    asset_id        uuid NOT NULL,
    reason          text NOT NULL CHECK (reason IN ('signup', 'payment_method', 'daily', 'referral', 'gift')),
    -- Why it was given, so that it is given once; the transfer has the same.
    cause_id        uuid NOT NULL UNIQUE,
    description     text NOT NULL,
    amount          numeric(78, 0) NOT NULL CHECK (amount > 0),
    -- Set aside for calls under way; spent; and gone back to the budget because nobody spent it in time.
    held            numeric(78, 0) NOT NULL DEFAULT 0 CHECK (held >= 0),
    spent           numeric(78, 0) NOT NULL DEFAULT 0 CHECK (spent >= 0),
    expired         numeric(78, 0) NOT NULL DEFAULT 0 CHECK (expired >= 0),
    expires_at      timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    -- When nothing was left of it.
    closed_at       timestamptz,
    FOREIGN KEY (account_id, asset_id) REFERENCES accounts (id, asset_id),
    CONSTRAINT grants_not_overdrawn CHECK (held + spent + expired <= amount),
    CHECK ((closed_at IS NULL) = (spent + expired < amount))
);
CREATE INDEX ON grants (account_id, expires_at, id) WHERE closed_at IS NULL;
-- Any amount is above zero. The job that asks what is due says so and calls do not, so that a call, which is planned before
-- there are statistics, never takes this index for its own.
CREATE INDEX ON grants (expires_at) WHERE closed_at IS NULL AND amount > 0;
CREATE INDEX ON grants (organization_id, created_at, id);
ALTER TABLE grants SET (fillfactor = 50);

-- What a hold draws from which grant. It stays: afterwards it says what paid for the call.
CREATE TABLE hold_grants (
    call_id  uuid NOT NULL,
    grant_id uuid NOT NULL REFERENCES grants,
    amount   numeric(78, 0) NOT NULL CHECK (amount > 0),
    PRIMARY KEY (call_id, grant_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON hold_grants
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Of a funded account: its owner has promotional money too, so its calls go another way. Every call reads this row anyway.
ALTER TABLE accounts ADD COLUMN is_promoted boolean NOT NULL DEFAULT false;

-- The part of a hold's amount that is promotional money; the rest is on payer_id. Null for most.
ALTER TABLE holds ADD COLUMN promotional_id uuid, ADD COLUMN promotional_amount numeric(78, 0);
ALTER TABLE holds ADD CHECK ((promotional_id IS NULL) = (promotional_amount IS NULL)
    AND (promotional_amount IS NULL OR promotional_amount BETWEEN 1 AND amount)) NOT VALID;

-- Asked only of holds that have such a part, so that the others do not pay for it.
CREATE FUNCTION refuse_strange_promotions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM accounts AS promotional JOIN accounts AS payer
            ON payer.owner_id = promotional.owner_id AND payer.asset_id = promotional.asset_id
        WHERE promotional.id = NEW.promotional_id AND promotional.kind = 'promotional'
            AND payer.id = NEW.payer_id AND payer.asset_id = NEW.asset_id
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a hold draws on promotional money of its payer, in its asset';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER of_its_payer AFTER INSERT ON holds
    FOR EACH ROW WHEN (NEW.promotional_id IS NOT NULL) EXECUTE FUNCTION refuse_strange_promotions();
CREATE TRIGGER stays_promotional BEFORE UPDATE OF promotional_id, promotional_amount ON holds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
