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
