-- A payment is one row that is written three times, and its transaction is one more: what each of those writes costs
-- beside the row itself. Foreign keys are asked once for each statement here too, as in 0060.

-- Every payment that settles looks for its asset's clearing account, and its fee's.
CREATE INDEX ON accounts (asset_id, kind) WHERE kind IN ('chain', 'stripe', 'fees', 'promotion_budget');

-- Hardly any payment has a name, and one without takes none.
DROP INDEX payments_payer_identifier_idx;
CREATE UNIQUE INDEX ON payments (payer, identifier)
    WHERE identifier IS NOT NULL AND state IN ('claimed', 'submitted', 'settled');

ALTER TABLE payments DROP CONSTRAINT payments_asset_id_fkey, DROP CONSTRAINT payments_credit_id_asset_id_fkey;
CREATE FUNCTION refuse_strange_payments() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT credit_id, asset_id FROM written) AS one
            LEFT JOIN accounts ON accounts.id = one.credit_id AND accounts.asset_id = one.asset_id
        WHERE accounts.id IS NULL
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a payment is for an account in its asset';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER for_somebody AFTER INSERT ON payments REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_strange_payments();
CREATE TRIGGER stay BEFORE DELETE OR TRUNCATE OR UPDATE OF id, asset_id, credit_id ON payments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE chain_transactions
    DROP CONSTRAINT chain_transactions_payment_id_fkey, DROP CONSTRAINT chain_transactions_network_signer_fkey;
CREATE FUNCTION refuse_strange_transactions() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (SELECT FROM written LEFT JOIN payments ON payments.id = payment_id WHERE payments.id IS NULL)
        OR EXISTS (
            SELECT FROM (SELECT DISTINCT network, signer FROM written) AS one
            WHERE NOT EXISTS (SELECT FROM signers WHERE network = one.network AND address = one.signer)
        )
    THEN
        RAISE foreign_key_violation USING MESSAGE = 'a transaction is of a payment and of a signer';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER of_somebody AFTER INSERT ON chain_transactions REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_strange_transactions();
CREATE TRIGGER stay BEFORE UPDATE OF payment_id, network, signer ON chain_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stay BEFORE DELETE OR TRUNCATE OR UPDATE OF network, address ON signers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Hardly any replaces another. One index finds a nonce's transactions and keeps two payments from sharing it.
ALTER TABLE chain_transactions DROP CONSTRAINT chain_transactions_replaces_key;
CREATE UNIQUE INDEX ON chain_transactions (replaces) WHERE replaces IS NOT NULL;
DROP INDEX chain_transactions_network_signer_nonce_idx, chain_transactions_network_signer_nonce_idx1;
CREATE UNIQUE INDEX ON chain_transactions (network, signer, nonce, replaces) NULLS NOT DISTINCT;
