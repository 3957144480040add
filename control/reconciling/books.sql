-- name: transfers
SELECT concat('transfer ', transfer_id) AS subject, '0' AS expected, sum(amount)::text AS found
FROM entries JOIN accounts ON accounts.id = account_id
GROUP BY transfer_id, asset_id HAVING sum(amount) <> 0 LIMIT $1

-- name: posted
WITH booked AS (SELECT account_id, sum(amount) AS amount FROM entries GROUP BY account_id)
SELECT concat('account ', accounts.id, ' (', kind, ' of ', owner_id, ')') AS subject,
    coalesce(booked.amount, 0)::text AS expected, posted::text AS found
FROM accounts LEFT JOIN booked ON account_id = accounts.id
WHERE posted <> coalesce(booked.amount, 0) LIMIT $1

-- name: held
WITH held AS (SELECT payer_id, sum(amount) AS amount FROM holds WHERE state = 'open' GROUP BY payer_id)
SELECT concat('account ', accounts.id, ' (', kind, ' of ', owner_id, ')') AS subject,
    coalesce(held.amount, 0)::text AS expected, accounts.held::text AS found
FROM accounts LEFT JOIN held ON payer_id = accounts.id
WHERE accounts.held <> coalesce(held.amount, 0) LIMIT $1

-- name: sums
SELECT concat('asset ', symbol, ' on ', network) AS subject, '0' AS expected, sum(posted)::text AS found
FROM accounts JOIN assets ON assets.id = asset_id
GROUP BY assets.id HAVING sum(posted) <> 0 LIMIT $1

-- name: usage
-- A call that cost something has its charge, to the atomic unit, and a charge has its call.
WITH charged AS (
    SELECT cause_id, sum(amount) AS amount FROM transfers JOIN entries ON transfer_id = transfers.id
    WHERE kind = 'charge' AND amount > 0 GROUP BY cause_id
)
SELECT concat('call ', coalesce(call_id, cause_id)) AS subject, coalesce(charged.amount, 0)::text AS expected,
    coalesce(cost, 0)::text AS found
FROM (SELECT call_id, cost FROM usage_events WHERE cost > 0) AS used FULL JOIN charged ON cause_id = call_id
WHERE coalesce(cost, 0) <> coalesce(charged.amount, 0) LIMIT $1

-- name: holds
-- What a hold spent is what was charged for its call.
WITH charged AS (
    SELECT cause_id, sum(amount) AS amount FROM transfers JOIN entries ON transfer_id = transfers.id
    WHERE kind = 'charge' AND amount > 0 GROUP BY cause_id
)
SELECT concat('hold ', call_id) AS subject, spent::text AS expected, coalesce(charged.amount, 0)::text AS found
FROM holds LEFT JOIN charged ON cause_id = call_id
WHERE state = 'posted' AND spent <> coalesce(charged.amount, 0) LIMIT $1

-- name: days
-- Sums by the day against the calls that they say they have counted.
WITH used AS (
    SELECT publisher_id, (created_at AT TIME ZONE 'UTC')::date AS day, asset_id, count(*) AS calls, sum(cost) AS cost
    FROM usage_events WHERE written_in < (SELECT next_in FROM rollup_marks WHERE name = 'usage')
    GROUP BY 1, 2, 3
), counted AS (
    SELECT publisher_id, day, asset_id, sum(calls) AS calls, sum(cost) AS cost FROM usage_days GROUP BY 1, 2, 3
)
SELECT concat('publisher ', coalesce(used.publisher_id, counted.publisher_id), ' on ', coalesce(used.day, counted.day))
    AS subject,
    concat(coalesce(used.calls, 0), ' calls, ', coalesce(used.cost, 0)) AS expected,
    concat(coalesce(counted.calls, 0), ' calls, ', coalesce(counted.cost, 0)) AS found
FROM used FULL JOIN counted ON counted.publisher_id = used.publisher_id AND counted.day = used.day
    AND counted.asset_id IS NOT DISTINCT FROM used.asset_id
WHERE coalesce(used.calls, 0) <> coalesce(counted.calls, 0) OR coalesce(used.cost, 0) <> coalesce(counted.cost, 0)
LIMIT $1

-- name: payments
-- What settled on chain is booked, and what is booked from the chain has settled.
WITH arrived AS (
    SELECT transfers.cause_id, -sum(entries.amount) AS amount
    FROM transfers JOIN entries ON transfer_id = transfers.id JOIN accounts ON accounts.id = account_id
    WHERE accounts.kind = 'chain' AND transfers.kind IN ('charge', 'deposit') GROUP BY transfers.cause_id
), settled AS (
    SELECT id, amount FROM payments WHERE state = 'settled' AND purpose <> 'facilitated'
)
SELECT concat('payment ', coalesce(settled.id, arrived.cause_id)) AS subject,
    coalesce(settled.amount, 0)::text AS expected, coalesce(arrived.amount, 0)::text AS found
FROM settled FULL JOIN arrived ON arrived.cause_id = settled.id
WHERE coalesce(settled.amount, 0) <> coalesce(arrived.amount, 0) LIMIT $1
