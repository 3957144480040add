-- name: standing
-- The first call that finds the balance low starts the grace period, and one that finds it mended ends it.
WITH has AS (
    -- Promotional money pays the publisher for real, so it counts; and what is in a purse is nobody else's yet.
    SELECT coalesce(sum(posted - held), 0)
        + (SELECT coalesce(sum(amount), 0) FROM purses WHERE owner_id = $2 AND asset_id = $3) AS available
    FROM accounts WHERE owner_id = $2 AND asset_id = $3 AND kind IN ('funded', 'promotional')
), mended AS (
    DELETE FROM low_balances USING has
    WHERE publisher_id = $1 AND organization_id = $2 AND asset_id = $3 AND available >= $4
), low AS (
    INSERT INTO low_balances (publisher_id, organization_id, asset_id)
    SELECT $1, $2, $3 FROM has WHERE available < $4 AND $5::interval > interval '0'
    ON CONFLICT (publisher_id, organization_id, asset_id) DO UPDATE SET since = low_balances.since
    RETURNING since
)
SELECT available >= $4 OR EXISTS (SELECT FROM low WHERE since + $5::interval > now()) FROM has
