-- name: open
WITH asked AS (
    SELECT asked.*, (
        SELECT id FROM accounts
        WHERE accounts.owner_id = asked.owner_id AND accounts.asset_id = asked.asset_id AND kind = 'funded'
    ) AS payer_id
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::numeric[])
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
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::numeric[], $7::uuid[], $8::text[], $9::bytea[])
        WITH ORDINALITY AS asked (call_id, owner_id, payee_id, asset_id, amount, key_id, name, digest, place)
), repeated AS (
    SELECT asked.call_id FROM asked JOIN idempotency_keys AS known
        ON known.organization_id = asked.owner_id AND known.name = asked.name
), capped AS (
    SELECT key_id, per_call, per_day, total, today, day_near_on, day_reached_on, is_total_near, is_total_reached,
        CASE WHEN day = today THEN spent_today ELSE 0 END AS spent_today, spent_total
    FROM key_caps, (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS clock
    WHERE key_id IN (SELECT key_id FROM asked)
    ORDER BY key_id FOR NO KEY UPDATE OF key_caps
), locked AS (
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
), claimed AS (
    -- In order, so that two batches with the same keys never wait in a circle. Whoever comes second waits here for
    -- the first to commit, and then finds its key taken.
    INSERT INTO idempotency_keys (organization_id, name, call_id, digest)
    SELECT owner_id, name, call_id, digest FROM considered WHERE name IS NOT NULL AND obstacle IS NULL
    ORDER BY owner_id, name
    ON CONFLICT (organization_id, name) DO NOTHING
    RETURNING call_id
), opened AS (
    SELECT * FROM considered
    WHERE obstacle IS NULL AND (name IS NULL OR call_id IN (SELECT call_id FROM claimed))
), reserved AS (
    UPDATE accounts SET held = held + total
    FROM (SELECT payer_id, sum(amount) AS total FROM opened GROUP BY payer_id) AS sums
    WHERE accounts.id = sums.payer_id
), spending AS (
    UPDATE key_caps SET
        day = sums.today,
        spent_today = CASE WHEN key_caps.day = sums.today THEN key_caps.spent_today ELSE 0 END + sums.counted,
        spent_total = key_caps.spent_total + sums.counted,
        day_near_on = CASE WHEN (sums.spent_today + sums.counted) * 5 >= key_caps.per_day * 4 THEN sums.today
            ELSE key_caps.day_near_on END,
        is_total_near = key_caps.is_total_near
            OR coalesce((key_caps.spent_total + sums.counted) * 5 >= key_caps.total * 4, false)
    FROM (
        SELECT capped.*, owner_id, counted FROM capped
        JOIN (SELECT key_id, owner_id, sum(counted) AS counted FROM opened GROUP BY key_id, owner_id) AS taken
            ON taken.key_id = capped.key_id
    ) AS sums
    WHERE key_caps.key_id = sums.key_id
    RETURNING key_caps.key_id, sums.owner_id, key_caps.per_day, key_caps.spent_today, key_caps.total,
        key_caps.spent_total, sums.day_near_on IS NOT DISTINCT FROM sums.today AS was_day_near,
        sums.is_total_near AS was_total_near
), told AS (
    INSERT INTO events (organization_id, type, payload)
    SELECT owner_id, 'key.cap_near', jsonb_build_object(
        'key_id', key_id, 'cap', cap, 'limit_millionths', most::text, 'spent_millionths', spent::text)
    FROM spending CROSS JOIN LATERAL (
        VALUES ('per_day', per_day, spending.spent_today, was_day_near),
            ('total', total, spending.spent_total, was_total_near)
    ) AS cap (cap, most, spent, was_near)
    WHERE NOT was_near AND spent * 5 >= most * 4
), held AS (
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
    SELECT * FROM unnest($1::uuid[], $2::numeric[], $3::numeric[], $4::text[], $5::uuid[], $6::text[], $7::text[],
        $8::integer[]) AS asked (call_id, spent, fee, description, publisher_id, method, path, status)
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
), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT account_id FROM legs) ORDER BY id FOR NO KEY UPDATE OF accounts
), changed AS (
    UPDATE accounts SET posted = posted + sums.amount, held = held - sums.released
    FROM (
        SELECT locked.id, sum(amount) AS amount, sum(released) AS released
        FROM legs JOIN locked ON locked.id = legs.account_id GROUP BY locked.id
    ) AS sums
    WHERE accounts.id = sums.id
    RETURNING accounts.id, accounts.owner_id, accounts.posted AS balance, sums.amount AS change
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
SELECT call_id, payer_id, balance, balance - change AS balance_before
FROM closed JOIN changed ON changed.id = closed.payer_id

-- name: posted
-- Asked again after a commit that nobody heard of: what it did.
SELECT asked.call_id FROM unnest($1::uuid[], $2::numeric[]) AS asked (call_id, spent)
    JOIN holds ON holds.call_id = asked.call_id AND holds.spent = asked.spent

-- name: give_back
-- In the transaction of ``post`` and before it, what calls of capped keys did not spend after all.
WITH closing AS (
    SELECT holds.key_id, counted_on, holds.counted - counted_millionths(asked.spent, decimals) AS counted
    FROM unnest($1::uuid[], $2::numeric[]) AS asked (call_id, spent)
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
), capped AS (
    SELECT key_id, day FROM key_caps WHERE key_id IN (SELECT key_id FROM closed)
    ORDER BY key_id FOR NO KEY UPDATE
), given_back AS (
    UPDATE key_caps SET spent_total = spent_total - sums.counted, spent_today = spent_today - sums.of_today
    FROM (
        SELECT closed.key_id, sum(counted) AS counted,
            coalesce(sum(counted) FILTER (WHERE counted_on = capped.day), 0) AS of_today
        FROM closed JOIN capped ON capped.key_id = closed.key_id GROUP BY closed.key_id
    ) AS sums
    WHERE key_caps.key_id = sums.key_id
), locked AS (
    SELECT id FROM accounts
    WHERE id IN (SELECT payer_id FROM closed) AND (SELECT count(*) FROM capped) >= 0
    ORDER BY id FOR NO KEY UPDATE OF accounts
), forgotten AS (
    -- It cost nothing, so it may be tried again under its key. Last of all: whoever waits for this key has locked
    -- its account.
    DELETE FROM idempotency_keys USING closed
    WHERE is_keyed AND idempotency_keys.call_id = closed.call_id AND (SELECT count(*) FROM locked) >= 0
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
SELECT call_id FROM holds WHERE state = 'open' AND expires_at <= now() AND promotional_id IS NULL
ORDER BY expires_at LIMIT $1
FOR UPDATE SKIP LOCKED
