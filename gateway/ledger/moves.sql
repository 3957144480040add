-- name: move
-- The transfer's row is what makes a cause move money once: whoever comes second waits for it, and finds nothing to do.
WITH legs AS (
    SELECT * FROM unnest($5::uuid[], $6::numeric[]) AS legs (account_id, amount)
), moved AS (
    INSERT INTO transfers (id, kind, cause_id, description) VALUES ($1, $2, $3, $4)
    ON CONFLICT (cause_id, kind) DO NOTHING
    RETURNING id
), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT account_id FROM legs) AND EXISTS (SELECT FROM moved)
    ORDER BY id FOR NO KEY UPDATE OF accounts
), changed AS (
    UPDATE accounts SET posted = posted + legs.amount
    FROM locked JOIN legs ON legs.account_id = locked.id
    WHERE accounts.id = locked.id
), booked AS (
    INSERT INTO entries (transfer_id, account_id, amount)
    SELECT moved.id, account_id, amount FROM moved, legs
)
SELECT id FROM moved
