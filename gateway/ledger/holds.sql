-- name: open
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::numeric[])
        WITH ORDINALITY AS asked (call_id, owner_id, payee_id, asset_id, amount, place)
), locked AS (
    -- In id order, so that two batches never wait in a circle; NO KEY, so that rows which refer to an account
    -- are inserted meanwhile.
    SELECT id, owner_id, asset_id, posted - held AS available FROM accounts
    WHERE kind = 'funded' AND (owner_id, asset_id) IN (SELECT owner_id, asset_id FROM asked)
    ORDER BY id FOR NO KEY UPDATE OF accounts
), considered AS (
    SELECT asked.*, locked.id AS payer_id,
        sum(amount) OVER (PARTITION BY locked.id ORDER BY place) <= available AS is_covered
    FROM asked JOIN locked ON locked.owner_id = asked.owner_id AND locked.asset_id = asked.asset_id
), reserved AS (
    UPDATE accounts SET held = held + total
    FROM (SELECT payer_id, sum(amount) AS total FROM considered WHERE is_covered GROUP BY payer_id) AS sums
    WHERE accounts.id = sums.payer_id
)
INSERT INTO holds (call_id, payer_id, payee_id, asset_id, amount, expires_at)
SELECT call_id, payer_id, payee_id, asset_id, amount, now() + $6 FROM considered WHERE is_covered
RETURNING call_id

-- name: opened
-- After a commit that nobody heard of: what it did.
SELECT call_id FROM holds WHERE call_id = ANY ($1::uuid[]) AND state = 'open'

-- name: post
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::numeric[], $3::numeric[], $4::text[], $5::uuid[], $6::text[], $7::text[],
        $8::integer[]) AS asked (call_id, spent, fee, description, publisher_id, method, path, status)
), closed AS (
    UPDATE holds SET state = 'posted', spent = asked.spent
    FROM asked WHERE holds.call_id = asked.call_id AND holds.state = 'open'
    RETURNING asked.*, holds.payer_id, holds.payee_id, holds.asset_id, holds.amount AS released
), legs AS (
    SELECT call_id, payer_id AS account_id, -spent AS amount, released FROM closed
    UNION ALL
    SELECT call_id, payee_id, spent - fee, 0 FROM closed
    UNION ALL
    SELECT call_id, fees.id, fee, 0
    FROM closed JOIN accounts AS fees ON fees.asset_id = closed.asset_id AND fees.kind = 'fees'
    WHERE fee > 0
), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT account_id FROM legs) ORDER BY id FOR NO KEY UPDATE OF accounts
), changed AS (
    UPDATE accounts SET posted = posted + sums.amount, held = held - sums.released
    FROM (
        SELECT locked.id, sum(amount) AS amount, sum(released) AS released
        FROM legs JOIN locked ON locked.id = legs.account_id GROUP BY locked.id
    ) AS sums
    WHERE accounts.id = sums.id
    RETURNING accounts.id, accounts.owner_id
), moved AS (
    INSERT INTO transfers (id, kind, cause_id, description)
    SELECT call_id, 'charge', call_id, description FROM closed WHERE spent > 0
), booked AS (
    INSERT INTO entries (transfer_id, account_id, amount)
    SELECT call_id, account_id, amount FROM legs WHERE amount <> 0
), used AS (
    INSERT INTO usage_events (call_id, publisher_id, organization_id, rail, method, path, outcome, status, asset_id,
        cost)
    SELECT call_id, publisher_id, changed.owner_id, 'prepaid', method, path,
        CASE WHEN spent > 0 THEN 'charged' ELSE 'free' END, status, asset_id, spent
    FROM closed JOIN changed ON changed.id = closed.payer_id
)
SELECT call_id FROM closed
UNION
-- Asked again after a commit that nobody heard of, the answer is what that commit did.
SELECT asked.call_id FROM asked JOIN holds ON holds.call_id = asked.call_id
WHERE holds.state = 'posted' AND holds.spent = asked.spent

-- name: void
WITH closed AS (
    UPDATE holds SET state = 'void' WHERE call_id = ANY ($1::uuid[]) AND state = 'open'
    RETURNING call_id, payer_id, amount
), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT payer_id FROM closed) ORDER BY id FOR NO KEY UPDATE OF accounts
), released AS (
    UPDATE accounts SET held = held - sums.amount
    FROM (
        SELECT locked.id, sum(amount) AS amount
        FROM closed JOIN locked ON locked.id = closed.payer_id GROUP BY locked.id
    ) AS sums
    WHERE accounts.id = sums.id
)
SELECT call_id FROM closed

-- name: expired
SELECT call_id FROM holds WHERE state = 'open' AND expires_at <= now()
ORDER BY expires_at LIMIT $1
FOR UPDATE SKIP LOCKED
