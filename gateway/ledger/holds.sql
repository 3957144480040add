-- name: open
WITH asked AS (
    SELECT asked.*, (
        SELECT id FROM accounts
        WHERE accounts.owner_id = asked.owner_id AND accounts.asset_id = asked.asset_id AND kind = 'funded'
    ) AS payer_id
    FROM unnest($1::text::uuid[], $2::text::uuid[], $3::text::uuid[], $4::text::uuid[], $5::text::numeric[])
        WITH ORDINALITY AS asked (call_id, owner_id, payee_id, asset_id, amount, place)
), locked AS (
    -- In id order, so that two batches never wait in a circle; NO KEY, so that rows which refer to an account
    -- are inserted meanwhile.
    SELECT id, posted - held AS available, is_promoted FROM accounts WHERE id IN (SELECT payer_id FROM asked)
    ORDER BY id FOR NO KEY UPDATE OF accounts
), considered AS (
    SELECT asked.*, is_promoted,
        NOT is_promoted AND sum(amount) OVER (PARTITION BY payer_id ORDER BY place) <= available AS is_covered
    FROM asked JOIN locked ON locked.id = asked.payer_id
), reserved AS (
    UPDATE accounts SET held = held + total
    FROM (SELECT payer_id, sum(amount) AS total FROM considered WHERE is_covered GROUP BY payer_id) AS sums
    WHERE accounts.id = sums.payer_id
), opened AS (
    INSERT INTO holds (call_id, payer_id, payee_id, asset_id, amount, expires_at)
    SELECT call_id, payer_id, payee_id, asset_id, amount, now() + $6 FROM considered WHERE is_covered
    RETURNING call_id
)
SELECT call_id, false AS is_promoted FROM opened
UNION ALL
SELECT call_id, true FROM considered WHERE is_promoted

-- name: opened
-- After a commit that nobody heard of: what it did.
SELECT call_id FROM holds WHERE call_id = ANY ($1::uuid[]) AND state = 'open'

-- name: open_bound
-- As ``open``, for calls that may be sent again under a key of their own, or whose API key has caps. In a batch, a call
-- that is refused also counts against those after it; asked again alone, each is refused for its own price only.
WITH asked AS (
    SELECT asked.*, (
        SELECT id FROM accounts
        WHERE accounts.owner_id = asked.owner_id AND accounts.asset_id = asked.asset_id AND kind = 'funded'
    ) AS payer_id
    FROM unnest($1::text::uuid[], $2::text::uuid[], $3::text::uuid[], $4::text::uuid[], $5::text::numeric[], $7::uuid[], $8::text[], $9::bytea[])
        WITH ORDINALITY AS asked (call_id, owner_id, payee_id, asset_id, amount, key_id, name, digest, place)
), {repeated}, {capped}, locked AS (
    -- The count makes caps be locked before accounts, here as everywhere.
    SELECT id, posted - held AS available, is_promoted FROM accounts
    WHERE id IN (SELECT payer_id FROM asked) AND (SELECT count(*) FROM capped) >= 0
    ORDER BY id FOR NO KEY UPDATE OF accounts
), counted AS (
    SELECT asked.*, available, is_promoted, counted_millionths(amount, decimals) AS counted
    FROM asked JOIN locked ON locked.id = asked.payer_id
        JOIN assets ON assets.id = asked.asset_id
    WHERE asked.call_id NOT IN (SELECT call_id FROM repeated)
), considered AS (
    SELECT counted.*, capped.key_id IS NOT NULL AS is_capped, capped.today,
        CASE
            -- Says nothing of the caps: the other way asks for them itself.
            WHEN is_promoted THEN 'promoted'
            WHEN counted > per_call THEN 'per_call'
            WHEN capped.spent_total + sum(counted) OVER of_key > total THEN 'total'
            WHEN capped.spent_today + sum(counted) OVER of_key > per_day THEN 'per_day'
            WHEN sum(amount) OVER (PARTITION BY payer_id ORDER BY place) > available THEN 'short'
        END AS obstacle
    FROM counted LEFT JOIN capped ON capped.key_id = counted.key_id
    WINDOW of_key AS (PARTITION BY counted.key_id ORDER BY place)
), {claimed}, opened AS (
    SELECT * FROM considered
    WHERE obstacle IS NULL AND (name IS NULL OR call_id IN (SELECT call_id FROM claimed))
), reserved AS (
    UPDATE accounts SET held = held + total
    FROM (SELECT payer_id, sum(amount) AS total FROM opened GROUP BY payer_id) AS sums
    WHERE accounts.id = sums.payer_id
), {spending}, {told}, held AS (
    INSERT INTO holds (call_id, payer_id, payee_id, asset_id, amount, expires_at, is_keyed, key_id, counted, counted_on)
    SELECT call_id, payer_id, payee_id, asset_id, amount, now() + $6, name IS NOT NULL,
        CASE WHEN is_capped THEN key_id END, CASE WHEN is_capped THEN counted END, today
    FROM opened
)
SELECT asked.call_id, opened.call_id IS NOT NULL AS is_open,
    CASE
        WHEN opened.call_id IS NOT NULL THEN NULL
        WHEN repeated.call_id IS NOT NULL THEN 'repeated'
        WHEN considered.obstacle IS NULL AND considered.call_id IS NOT NULL THEN 'repeated'
        ELSE coalesce(considered.obstacle, 'short')
    END AS obstacle,
    CASE considered.obstacle WHEN 'per_call' THEN per_call WHEN 'per_day' THEN per_day
        WHEN 'total' THEN capped.total END AS cap,
    CASE considered.obstacle WHEN 'per_call' THEN per_call WHEN 'per_day' THEN greatest(per_day - spent_today, 0)
        WHEN 'total' THEN greatest(capped.total - spent_total, 0) END AS remaining,
    CASE considered.obstacle WHEN 'per_day' THEN day_reached_on IS NOT DISTINCT FROM capped.today
        WHEN 'total' THEN is_total_reached ELSE true END AS is_told
FROM asked
    LEFT JOIN opened ON opened.call_id = asked.call_id
    LEFT JOIN repeated ON repeated.call_id = asked.call_id
    LEFT JOIN considered ON considered.call_id = asked.call_id
    LEFT JOIN capped ON capped.key_id = asked.key_id

-- name: state
SELECT state FROM holds WHERE call_id = $1

-- name: repeated
SELECT known.call_id, known.digest, holds.state, holds.spent, symbol, decimals, holds.expires_at <= now() AS is_over,
    answers.head, answers.body, answers.omitted
FROM idempotency_keys AS known JOIN holds ON holds.call_id = known.call_id
    JOIN assets ON assets.id = holds.asset_id
    LEFT JOIN answers ON answers.call_id = known.call_id
WHERE known.organization_id = $1 AND known.name = $2

-- name: prune
DELETE FROM idempotency_keys WHERE call_id IN (
    SELECT known.call_id FROM idempotency_keys AS known JOIN holds ON holds.call_id = known.call_id
    WHERE known.created_at < now() - $1::interval AND holds.state <> 'open'
    ORDER BY known.created_at LIMIT 1000
)


-- name: post
-- An open hold is one that is neither posted nor void: said like this, it is looked up by its call and not among all
-- that are open, which an index for the sweeper has.
WITH asked AS (
    SELECT * FROM unnest($1::text::uuid[], $2::text::numeric[], $3::text::numeric[], string_to_array($4, chr(31)),
        $5::text::uuid[], string_to_array($6, chr(31)), string_to_array($7, chr(31)), $8::text::integer[]) AS asked (call_id, spent, fee, description, publisher_id, method, path, status)
), closed AS (
    UPDATE holds SET state = 'posted', spent = asked.spent
    FROM asked
    WHERE holds.call_id = asked.call_id AND holds.state NOT IN ('posted', 'void') AND holds.promotional_id IS NULL
    RETURNING asked.*, holds.payer_id, holds.payee_id, holds.asset_id, holds.amount AS released
), legs AS (
    SELECT call_id, payer_id AS account_id, -spent AS amount, released FROM closed
    UNION ALL
    SELECT call_id, payee_id, spent - fee, 0 FROM closed
    UNION ALL
    SELECT call_id, fees.id, fee, 0
    FROM closed JOIN accounts AS fees ON fees.owner_id = '00000000-0000-7000-8000-000000000000'
        AND fees.asset_id = closed.asset_id AND fees.kind = 'fees'
    WHERE fee > 0
), {locked_legs}, {changed}, {moved}, {booked}, {used}
SELECT call_id, payer_id, balance, balance - change AS balance_before
FROM closed JOIN changed ON changed.id = closed.payer_id

-- name: posted
-- Asked again after a commit that nobody heard of: what it did.
SELECT asked.call_id FROM unnest($1::text::uuid[], $2::text::numeric[]) AS asked (call_id, spent)
    JOIN holds ON holds.call_id = asked.call_id AND holds.spent = asked.spent

-- name: give_back
-- In the transaction of ``post`` and before it, what calls of capped keys did not spend after all.
WITH closing AS (
    SELECT holds.key_id, counted_on, holds.counted - counted_millionths(asked.spent, decimals) AS counted
    FROM unnest($1::text::uuid[], $2::text::numeric[]) AS asked (call_id, spent)
        JOIN holds ON holds.call_id = asked.call_id AND state NOT IN ('posted', 'void') AND key_id IS NOT NULL
        JOIN assets ON assets.id = holds.asset_id
    FOR NO KEY UPDATE OF holds
), capped AS (
    SELECT key_id, day FROM key_caps WHERE key_id IN (SELECT key_id FROM closing)
    ORDER BY key_id FOR NO KEY UPDATE
)
UPDATE key_caps SET spent_total = spent_total - sums.counted, spent_today = spent_today - sums.of_today
FROM (
    SELECT closing.key_id, sum(counted) AS counted,
        coalesce(sum(counted) FILTER (WHERE counted_on = capped.day), 0) AS of_today
    FROM closing JOIN capped ON capped.key_id = closing.key_id GROUP BY closing.key_id
) AS sums
WHERE key_caps.key_id = sums.key_id

-- name: void
WITH closed AS (
    UPDATE holds SET state = 'void'
    WHERE call_id = ANY ($1::uuid[]) AND state NOT IN ('posted', 'void') AND promotional_id IS NULL
    RETURNING call_id, payer_id, amount, is_keyed, key_id, counted, counted_on
), {capped_of_closed}, {given_back}, locked AS (
    SELECT id FROM accounts
    WHERE id IN (SELECT payer_id FROM closed) AND (SELECT count(*) FROM capped) >= 0
    ORDER BY id FOR NO KEY UPDATE OF accounts
), {forgotten}, released AS (
    UPDATE accounts SET held = held - sums.amount
    FROM (
        SELECT locked.id, sum(amount) AS amount
        FROM closed JOIN locked ON locked.id = closed.payer_id GROUP BY locked.id
    ) AS sums
    WHERE accounts.id = sums.id
)
SELECT call_id FROM closed

-- name: expired
SELECT call_id FROM holds WHERE state = 'open' AND expires_at <= now() AND promotional_id IS NULL
ORDER BY expires_at LIMIT $1
FOR UPDATE SKIP LOCKED
