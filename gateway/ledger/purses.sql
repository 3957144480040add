-- name: take
-- No more than a share of what the account has to spend, and nothing where promotional money is to be spent first.
WITH asked AS (
    SELECT asked.*, (
        SELECT id FROM accounts
        WHERE accounts.owner_id = asked.owner_id AND accounts.asset_id = asked.asset_id AND kind = 'funded'
    ) AS payer_id
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::numeric[], $5::numeric[])
        AS asked (id, owner_id, asset_id, size, least)
), locked AS (
    SELECT id, div(posted - held, $6) AS share FROM accounts
    WHERE id IN (SELECT payer_id FROM asked) AND NOT is_promoted
    ORDER BY id FOR NO KEY UPDATE OF accounts
), given AS (
    SELECT asked.id, owner_id, payer_id, asset_id, least(size, share) AS amount
    FROM asked JOIN locked ON locked.id = asked.payer_id WHERE share >= asked.least
), reserved AS (
    UPDATE accounts SET held = held + given.amount FROM given WHERE accounts.id = given.payer_id
)
INSERT INTO purses (id, owner_id, payer_id, asset_id, amount, expires_at)
SELECT id, owner_id, payer_id, asset_id, amount, now() + $7 FROM given
RETURNING id, amount

-- name: charge
-- A call is charged once: its transfer and its usage row have its id.
WITH asked AS (
    SELECT * FROM unnest($1::text::uuid[], $2::text::uuid[], $3::text::uuid[], $4::text::numeric[], $5::text::numeric[],
        string_to_array($6, chr(31)), $7::text::uuid[], string_to_array($8, chr(31)), string_to_array($9, chr(31)),
        $10::text::integer[])
        AS asked (call_id, purse_id, payee_id, spent, fee, description, publisher_id, method, path, status)
), purse AS (
    -- Before accounts, as holds are.
    SELECT id, payer_id, owner_id, asset_id, (
        SELECT fees.id FROM accounts AS fees
        WHERE fees.owner_id = '00000000-0000-7000-8000-000000000000' AND fees.asset_id = purses.asset_id
            AND fees.kind = 'fees'
    ) AS fees_id
    FROM purses WHERE id IN (SELECT purse_id FROM asked) ORDER BY id FOR NO KEY UPDATE OF purses
), closed AS (
    SELECT asked.*, payer_id, owner_id, asset_id, fees_id FROM asked JOIN purse ON purse.id = asked.purse_id
), taken AS (
    UPDATE purses SET amount = amount - sums.spent
    FROM (SELECT purse_id, sum(spent) AS spent FROM closed GROUP BY purse_id) AS sums
    WHERE purses.id = sums.purse_id
), legs AS (
    SELECT call_id, payer_id AS account_id, -spent AS amount, spent AS released FROM closed
    UNION ALL
    SELECT call_id, payee_id, spent - fee, 0 FROM closed
    UNION ALL
    SELECT call_id, fees_id, fee, 0 FROM closed WHERE fee > 0
), {locked_legs}, {changed}, {moved}, {booked}, used AS (
    INSERT INTO usage_events (call_id, publisher_id, organization_id, rail, method, path, outcome, status, asset_id,
        cost)
    SELECT call_id, publisher_id, owner_id, 'prepaid', method, path,
        CASE WHEN spent > 0 THEN 'charged' ELSE 'free' END, status, asset_id, spent
    FROM closed
)
SELECT purse.id AS purse_id, payer_id, balance, balance - change AS balance_before
FROM purse JOIN changed ON changed.id = purse.payer_id

-- name: charged
-- Asked after a commit that nobody heard of: what it did.
SELECT call_id FROM usage_events
WHERE call_id = ANY ($1::uuid[]) AND rail = 'prepaid' AND outcome IN ('charged', 'free')

-- name: give_back
-- All but what calls that are running may still be charged. Said as what is kept, so that asking twice is asking once.
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::numeric[]) AS asked (id, kept)
), purse AS (
    SELECT purses.id, payer_id, amount, least(amount, kept) AS kept FROM purses JOIN asked ON asked.id = purses.id
    ORDER BY purses.id FOR NO KEY UPDATE OF purses
), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT payer_id FROM purse) ORDER BY id FOR NO KEY UPDATE OF accounts
), eased AS (
    UPDATE purses SET amount = kept FROM purse WHERE purses.id = purse.id AND kept > 0
), gone AS (
    DELETE FROM purses USING purse WHERE purses.id = purse.id AND kept = 0
)
UPDATE accounts SET held = held - sums.amount
FROM (
    SELECT payer_id, sum(amount - kept) AS amount FROM purse WHERE (SELECT count(*) FROM locked) >= 0 GROUP BY payer_id
) AS sums
WHERE accounts.id = sums.payer_id

-- name: expired
SELECT id FROM purses WHERE expires_at <= now() ORDER BY expires_at LIMIT $1
FOR UPDATE SKIP LOCKED
