-- name: write
-- A row for each purse, if the purse is there. Its constraint stops a process that would spend more than it has.
WITH asked AS (
    SELECT * FROM unnest($1::text::uuid[], $2::text::uuid[], $3::text::numeric[], string_to_array($4, chr(29)))
        AS asked (purse_id, call_id, amount, calls)
), drawn AS (
    UPDATE purses SET amount = purses.amount - asked.amount FROM asked WHERE purses.id = asked.purse_id
    RETURNING purses.id, purses.payer_id, asked.call_id, asked.amount, asked.calls
)
INSERT INTO slips (call_id, purse_id, payer_id, amount, calls)
SELECT call_id, id, payer_id, amount, calls FROM drawn
RETURNING purse_id, payer_id

-- part: taken_off
slip AS (
    -- In order, however this is planned: the sweeper's connections have other plans than the gateway's.
    DELETE FROM slips WHERE call_id IN (
        SELECT call_id FROM slips WHERE call_id = ANY ($1::uuid[]) ORDER BY call_id FOR UPDATE
    ) RETURNING payer_id, amount, calls
), payer AS (
    SELECT id, owner_id, asset_id, (
        SELECT fees.id FROM accounts AS fees
        WHERE fees.owner_id = '00000000-0000-7000-8000-000000000000' AND fees.asset_id = accounts.asset_id
            AND fees.kind = 'fees'
    ) AS fees_id
    FROM accounts WHERE id IN (SELECT payer_id FROM slip)
), asked AS (
    SELECT payer_id, name, name::uuid AS call_id, payee_id, spent, fee, publisher_id, status, method, path, description
    FROM slip, LATERAL (
        SELECT part[1] AS names, part[2]::uuid AS payee_id, part[3]::numeric AS spent, part[4]::numeric AS fee,
            part[5]::uuid AS publisher_id, part[6]::integer AS status, part[7] AS method, part[8] AS path,
            part[9] AS description
        FROM (
            SELECT string_to_array(line, chr(31)) AS part FROM string_to_table(calls, chr(30)) AS line OFFSET 0
        ) AS parts OFFSET 0
    -- A process of an earlier release writes a line for each call, and nothing behind its id.
    ) AS lines, LATERAL string_to_table(rtrim(names, chr(28)), chr(28)) AS name
)

-- part: told_of
together AS (
    -- What a payer is charged by one publisher is one transfer for all these calls, as old as the last of them.
    SELECT closed.*, max(name COLLATE "C") OVER alike AS charge, count(*) OVER alike AS calls
    FROM closed WINDOW alike AS (PARTITION BY payer_id, payee_id, publisher_id, spent > 0)
), charges AS (
    SELECT charge::uuid AS id, payer_id, payee_id, fees_id, calls, max(description) AS description,
        sum(spent) AS spent, sum(fee) AS fee
    FROM together WHERE spent > 0 GROUP BY charge, payer_id, payee_id, fees_id, calls
), legs AS (
    SELECT id AS call_id, payer_id AS account_id, -spent AS amount, 0 AS released FROM charges
    UNION ALL
    SELECT id, payee_id, spent - fee, 0 FROM charges
    UNION ALL
    SELECT id, fees_id, fee, 0 FROM charges WHERE fee > 0
    UNION ALL
    SELECT NULL, payer_id, 0, amount FROM slip
), {locked_legs}, {changed}, moved AS (
    INSERT INTO transfers (id, kind, cause_id, description, calls)
    SELECT id, 'charge', id,
        CASE WHEN calls = 1 THEN description ELSE concat(description, ' and ', calls - 1, ' more') END, calls
    FROM charges
), {booked}, used AS (
    INSERT INTO usage_events (call_id, publisher_id, organization_id, rail, method, path, outcome, status, asset_id,
        cost, charged_as)
    SELECT call_id, publisher_id, owner_id, 'prepaid', method, path,
        CASE WHEN spent > 0 THEN 'charged' ELSE 'free' END, status, asset_id, spent,
        CASE WHEN spent > 0 AND calls > 1 THEN charge::uuid END
    FROM together
)
SELECT payer.id AS payer_id, balance, balance - change AS balance_before
FROM payer JOIN changed ON changed.id = payer.id

-- name: book
WITH {taken_off}, closed AS (
    SELECT asked.*, owner_id, asset_id, fees_id FROM asked JOIN payer ON payer.id = payer_id
), {told_of}

-- name: book_rest
-- Where some of it was written twice, by a commit that nobody heard of: a call is charged once, and what was taken for
-- it a second time goes back to the balance.
WITH {taken_off}, closed AS (
    SELECT DISTINCT ON (call_id) asked.*, owner_id, asset_id, fees_id FROM asked JOIN payer ON payer.id = payer_id
    WHERE NOT EXISTS (SELECT FROM usage_events WHERE usage_events.call_id = asked.call_id)
), {told_of}

-- name: charged
-- Which calls were charged, as a commit may have done that nobody heard of, and by which slip if that is still there.
SELECT asked.call_id, slips.call_id AS slip_id, payer_id
FROM unnest($1::uuid[]) AS asked (call_id)
    -- With what only ids have behind them: anybody may write an id into a path. An earlier release writes it as the
    -- first field of a line.
    LEFT JOIN slips ON strpos(calls, asked.call_id || chr(28)) > 0
        OR strpos(chr(30) || calls, chr(30) || asked.call_id || chr(31)) > 0
WHERE slips.call_id IS NOT NULL OR EXISTS (
    SELECT FROM usage_events
    WHERE usage_events.call_id = asked.call_id AND rail = 'prepaid' AND outcome IN ('charged', 'free')
)

-- name: left_over
-- Those of who is alive are booked by who wrote them, and told: so not before they are of some age.
SELECT call_id FROM slips WHERE call_id > $1 AND written_at <= now() - $3::interval ORDER BY call_id LIMIT $2
