-- What several statements of holds say alike: each is a common table expression, and stands in them by its name in braces.

-- part: repeated
repeated AS (
    SELECT asked.call_id FROM asked JOIN idempotency_keys AS known
        ON known.organization_id = asked.owner_id AND known.name = asked.name
)

-- part: capped
capped AS (
    SELECT key_id, per_call, per_day, total, today, day_near_on, day_reached_on, is_total_near, is_total_reached,
        CASE WHEN day = today THEN spent_today ELSE 0 END AS spent_today, spent_total
    FROM key_caps, (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS clock
    WHERE key_id IN (SELECT key_id FROM asked)
    ORDER BY key_id FOR NO KEY UPDATE OF key_caps
)

-- part: claimed
claimed AS (
    -- In order, so that two batches with the same keys never wait in a circle. Whoever comes second waits here for
    -- the first to commit, and then finds its key taken.
    INSERT INTO idempotency_keys (organization_id, name, call_id, digest)
    SELECT owner_id, name, call_id, digest FROM considered WHERE name IS NOT NULL AND obstacle IS NULL
    ORDER BY owner_id, name
    ON CONFLICT (organization_id, name) DO NOTHING
    RETURNING call_id
)

-- part: spending
spending AS (
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
)

-- part: told
told AS (
    INSERT INTO events (organization_id, type, payload)
    SELECT owner_id, 'key.cap_near', jsonb_build_object(
        'key_id', key_id, 'cap', cap, 'limit_millionths', most::text, 'spent_millionths', spent::text)
    FROM spending CROSS JOIN LATERAL (
        VALUES ('per_day', per_day, spending.spent_today, was_day_near),
            ('total', total, spending.spent_total, was_total_near)
    ) AS cap (cap, most, spent, was_near)
    WHERE NOT was_near AND spent * 5 >= most * 4
)

-- part: locked_legs
locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT account_id FROM legs) ORDER BY id FOR NO KEY UPDATE OF accounts
)

-- part: changed
changed AS (
    UPDATE accounts SET posted = posted + sums.amount, held = held - sums.released
    FROM (
        -- The count makes all of them be locked, in order, before any is changed.
        SELECT account_id, sum(amount) AS amount, sum(released) AS released
        FROM legs WHERE (SELECT count(*) FROM locked) >= 0 GROUP BY account_id
    ) AS sums
    WHERE accounts.id = sums.account_id
    RETURNING accounts.id, accounts.owner_id, accounts.posted AS balance, sums.amount AS change
)

-- part: moved
moved AS (
    INSERT INTO transfers (id, kind, cause_id, description)
    SELECT call_id, 'charge', call_id, description FROM closed WHERE spent > 0
)

-- part: booked
booked AS (
    INSERT INTO entries (transfer_id, account_id, amount)
    SELECT call_id, account_id, amount FROM legs WHERE amount <> 0
)

-- part: used
used AS (
    INSERT INTO usage_events (call_id, publisher_id, organization_id, rail, method, path, outcome, status, asset_id,
        cost)
    SELECT call_id, publisher_id, changed.owner_id, 'prepaid', method, path,
        CASE WHEN spent > 0 THEN 'charged' ELSE 'free' END, status, asset_id, spent
    FROM closed JOIN changed ON changed.id = closed.payer_id
)

-- part: capped_of_closed
capped AS (
    SELECT key_id, day FROM key_caps WHERE key_id IN (SELECT key_id FROM closed)
    ORDER BY key_id FOR NO KEY UPDATE
)

-- part: given_back
given_back AS (
    UPDATE key_caps SET spent_total = spent_total - sums.counted, spent_today = spent_today - sums.of_today
    FROM (
        SELECT closed.key_id, sum(counted) AS counted,
            coalesce(sum(counted) FILTER (WHERE counted_on = capped.day), 0) AS of_today
        FROM closed JOIN capped ON capped.key_id = closed.key_id GROUP BY closed.key_id
    ) AS sums
    WHERE key_caps.key_id = sums.key_id
)

-- part: forgotten
forgotten AS (
    -- It cost nothing, so it may be tried again under its key. Last of all: whoever waits for this key has locked
    -- its account.
    DELETE FROM idempotency_keys USING closed
    WHERE is_keyed AND idempotency_keys.call_id = closed.call_id AND (SELECT count(*) FROM locked) >= 0
)
