-- name: take_back
-- The lock waits for whoever spends from the account, and then reads what they left.
WITH locked AS (
    SELECT id, posted - held AS free FROM accounts WHERE id IN ($4, $5) ORDER BY id FOR NO KEY UPDATE
), part AS (
    SELECT least($6::numeric, free) AS taken FROM locked WHERE id = $4 AND free > 0 AND $6::numeric > 0
), moved AS (
    INSERT INTO transfers (id, kind, cause_id, description) SELECT $1, 'reversal', $2, $3 FROM part
    ON CONFLICT (cause_id, kind) DO NOTHING
    RETURNING id
), legs AS (
    SELECT moved.id AS transfer_id, $4::uuid AS account_id, -taken AS amount FROM moved, part
    UNION ALL
    SELECT moved.id, $5::uuid, taken FROM moved, part
), changed AS (
    UPDATE accounts SET posted = posted + legs.amount
    FROM locked JOIN legs ON legs.account_id = locked.id
    WHERE accounts.id = locked.id
), booked AS (
    INSERT INTO entries (transfer_id, account_id, amount) SELECT transfer_id, account_id, amount FROM legs
)
SELECT taken FROM moved, part
