-- Earnings on their way to a wallet. The amount is in the account `payouts` until it is known what became of it.

CREATE TABLE payouts (
    id              uuid PRIMARY KEY,
    publisher_id    uuid NOT NULL REFERENCES publishers,
    organization_id uuid NOT NULL REFERENCES organizations,
    asset_id        uuid NOT NULL REFERENCES assets,
    amount          numeric(78, 0) NOT NULL CHECK (amount > 0),
    destination     text NOT NULL CHECK (destination ~ '^0x[0-9a-f]{40}$'),
    description     text NOT NULL,
    idempotency_key uuid,
    -- SHA-256 of what that key stands for.
    digest          bytea NOT NULL CHECK (octet_length(digest) = 32),
    -- Sent by a person, because no key of ours can.
    is_manual       boolean NOT NULL,
    state           text NOT NULL DEFAULT 'requested'
        CHECK (state IN ('requested', 'submitted', 'sent', 'failed', 'returned')),
    -- Whose tokens are sent: the signer's, or those of a wallet that lets it.
    source          text CHECK (source ~ '^0x[0-9a-f]{40}$'),
    -- The transaction that sent it; before that, the newest that was signed is asked for by its payout.
    known_hash      bytea CHECK (octet_length(known_hash) = 32),
    -- What a person calls the transfer that they made.
    reference       text,
    failure         text,
    -- Why neither the chain nor we can say whether it was sent. A person has to.
    doubt           text,
    asked_at        timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    closed_at       timestamptz,
    -- When no reorganization could undo it any more.
    final_at        timestamptz,
    UNIQUE (publisher_id, idempotency_key),
    CHECK (state <> 'submitted' OR source IS NOT NULL),
    CHECK ((closed_at IS NULL) = (state IN ('requested', 'submitted')))
);
CREATE INDEX ON payouts (publisher_id, id);
CREATE INDEX ON payouts (coalesce(asked_at, created_at)) WHERE state IN ('requested', 'submitted');
CREATE INDEX ON payouts (coalesce(asked_at, created_at)) WHERE state = 'sent' AND NOT is_manual AND final_at IS NULL;

-- A transaction is of a payment or of a payout, which have ids of one kind. Whatever a signer signs is in one table, so
-- that none of its account nonces is missing there when it has to be sent again.
CREATE OR REPLACE FUNCTION refuse_strange_transactions() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (
            SELECT FROM written LEFT JOIN payments ON payments.id = payment_id
            WHERE payments.id IS NULL AND NOT EXISTS (SELECT FROM payouts WHERE payouts.id = payment_id)
        )
        OR EXISTS (
            SELECT FROM (SELECT DISTINCT network, signer FROM written) AS one
            WHERE NOT EXISTS (SELECT FROM signers WHERE network = one.network AND address = one.signer)
        )
    THEN
        RAISE foreign_key_violation USING MESSAGE = 'a transaction is of a payment or a payout, and of a signer';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER stay BEFORE DELETE OR TRUNCATE OR UPDATE OF id, asset_id, amount, destination, organization_id ON payouts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
