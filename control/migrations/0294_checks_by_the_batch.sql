-- The check of 0060, which was a fifth of what a charge cost this database. It asked for the account and the transfer of
-- each entry; but accounts are few in a batch, and a transfer has several entries.

CREATE OR REPLACE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    -- Where all of it is one asset, a transfer that sums to zero does so per asset.
    IF EXISTS (
        SELECT FROM (SELECT transfer_id, sum(amount) AS total FROM written GROUP BY transfer_id) AS one
            LEFT JOIN transfers ON transfers.id = one.transfer_id
        WHERE total <> 0 OR transfers.id IS NULL
    ) OR (
        SELECT count(accounts.id) < count(*) OR count(DISTINCT accounts.asset_id) > 1
        FROM (SELECT DISTINCT account_id FROM written) AS one LEFT JOIN accounts ON accounts.id = one.account_id
    ) THEN
        IF EXISTS (
            SELECT FROM written
            WHERE NOT EXISTS (SELECT FROM accounts WHERE id = written.account_id)
                OR NOT EXISTS (SELECT FROM transfers WHERE id = written.transfer_id)
        ) THEN
            RAISE foreign_key_violation USING MESSAGE = 'an entry is of a transfer and of an account';
        END IF;
        IF EXISTS (
            SELECT FROM written JOIN accounts ON accounts.id = written.account_id
            GROUP BY transfer_id, asset_id HAVING sum(amount) <> 0
        ) THEN
            RAISE check_violation USING MESSAGE = 'the entries of a transfer do not sum to zero';
        END IF;
    END IF;
    RETURN NULL;
END $$;
