-- A foreign key asks for each row that is written whether what it refers to exists, and takes a lock there. The
-- tables of the ledger are written by the batch, so the same is asked here once for each statement: that was two
-- fifths of what a prepaid call cost this database. What is referred to can be neither removed nor given another
-- identity, which the foreign keys saw to as well.

ALTER TABLE holds DROP CONSTRAINT holds_payer_id_asset_id_fkey, DROP CONSTRAINT holds_payee_id_asset_id_fkey;
ALTER TABLE entries DROP CONSTRAINT entries_account_id_fkey, DROP CONSTRAINT entries_transfer_id_fkey;
ALTER TABLE usage_events DROP CONSTRAINT usage_events_publisher_id_fkey,
    DROP CONSTRAINT usage_events_organization_id_fkey, DROP CONSTRAINT usage_events_asset_id_fkey;

-- Both sides of a hold are accounts in its asset, and an asset is live or test: test money never buys a live call.
-- The planner is told to look rows up, because it plans these once and the tables grow afterwards.
CREATE FUNCTION refuse_strange_holds() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT payer_id, payee_id, asset_id FROM written) AS one
            LEFT JOIN accounts AS payer ON payer.id = one.payer_id AND payer.asset_id = one.asset_id
            LEFT JOIN accounts AS payee ON payee.id = one.payee_id AND payee.asset_id = one.asset_id
        WHERE payer.id IS NULL OR payee.id IS NULL
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a hold is between two accounts in its asset';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER between_accounts AFTER INSERT ON holds REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_strange_holds();
CREATE TRIGGER stays_between BEFORE UPDATE OF call_id, payer_id, payee_id, asset_id ON holds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM written
            LEFT JOIN accounts ON accounts.id = written.account_id
            LEFT JOIN transfers ON transfers.id = written.transfer_id
        GROUP BY transfer_id, asset_id
        HAVING sum(amount) <> 0 OR count(accounts.id) < count(*) OR count(transfers.id) < count(*)
    ) THEN
        IF EXISTS (
            SELECT FROM written
            WHERE NOT EXISTS (SELECT FROM accounts WHERE id = written.account_id)
                OR NOT EXISTS (SELECT FROM transfers WHERE id = written.transfer_id)
        ) THEN
            RAISE foreign_key_violation USING MESSAGE = 'an entry is of a transfer and of an account';
        END IF;
        RAISE check_violation USING MESSAGE = 'the entries of a transfer do not sum to zero';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION refuse_strange_usage() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT publisher_id, organization_id, asset_id FROM written) AS one
        WHERE NOT EXISTS (SELECT FROM publishers WHERE id = publisher_id)
            OR (organization_id IS NOT NULL AND NOT EXISTS (SELECT FROM organizations WHERE id = organization_id))
            OR (asset_id IS NOT NULL AND NOT EXISTS (SELECT FROM assets WHERE id = asset_id))
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'usage is of a publisher, an organization and an asset';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER of_somebody AFTER INSERT ON usage_events REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_strange_usage();
CREATE TRIGGER stays_of_somebody BEFORE UPDATE OF call_id, publisher_id, organization_id, asset_id ON usage_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Nothing removes any of these, and what was paid to or by somebody has to be told of them for ever.
CREATE TRIGGER stay BEFORE DELETE OR TRUNCATE OR UPDATE OF id, owner_id, asset_id, mode, kind ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stay BEFORE DELETE OR TRUNCATE OR UPDATE OF id ON assets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stay BEFORE DELETE OR TRUNCATE OR UPDATE OF id ON publishers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stay BEFORE DELETE OR TRUNCATE OR UPDATE OF id ON organizations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Room for the next versions of a row beside it, so that no index learns of every balance.
ALTER TABLE accounts SET (fillfactor = 50);
ALTER TABLE key_caps SET (fillfactor = 50);
