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
WITH parts AS (
    SELECT payer_id AS account_id, amount - coalesce(promotional_amount, 0) AS amount FROM holds WHERE state = 'open'
    UNION ALL
    SELECT promotional_id, promotional_amount FROM holds WHERE state = 'open' AND promotional_id IS NOT NULL
    UNION ALL
    SELECT payer_id, amount FROM purses
    UNION ALL
    SELECT payer_id, amount FROM slips
), held AS (SELECT account_id, sum(amount) AS amount FROM parts GROUP BY account_id)
SELECT concat('account ', accounts.id, ' (', kind, ' of ', owner_id, ')') AS subject,
    coalesce(held.amount, 0)::text AS expected, accounts.held::text AS found
FROM accounts LEFT JOIN held ON account_id = accounts.id
WHERE accounts.held <> coalesce(held.amount, 0) LIMIT $1

-- name: sums
SELECT concat('asset ', symbol, ' on ', network) AS subject, '0' AS expected, sum(posted)::text AS found
FROM accounts JOIN assets ON assets.id = asset_id
GROUP BY assets.id HAVING sum(posted) <> 0 LIMIT $1

-- name: usage
-- A call that cost something has its charge, to the atomic unit, by itself or with as many others as that says; and a
-- charge has its calls.
WITH charged AS (
    SELECT cause_id, calls, sum(amount) AS amount FROM transfers JOIN entries ON transfer_id = transfers.id
    WHERE kind = 'charge' AND amount > 0 GROUP BY cause_id, calls
), used AS (
    SELECT coalesce(charged_as, call_id) AS call_id, count(*) AS calls, sum(cost) AS cost
    FROM usage_events WHERE cost > 0 GROUP BY coalesce(charged_as, call_id)
), told AS (
    SELECT coalesce(call_id, cause_id) AS id,
        concat(coalesce(charged.amount, 0), ' for ', coalesce(charged.calls, 0)) AS expected,
        concat(coalesce(cost, 0), ' for ', coalesce(used.calls, 0)) AS found
    FROM used FULL JOIN charged ON cause_id = call_id
)
SELECT concat('call ', id) AS subject, expected, found FROM told WHERE expected <> found LIMIT $1

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

-- name: earned
WITH booked AS (
    SELECT publisher_id, accounts.asset_id,
        coalesce(sum(transfers.calls) FILTER (WHERE transfers.kind = 'charge'), 0) AS calls,
        coalesce(sum(amount) FILTER (WHERE transfers.kind = 'charge'), 0) AS earned,
        coalesce(-sum(amount) FILTER (WHERE transfers.kind = 'payout'), 0) AS direct
    FROM usage_events JOIN transfers ON cause_id = call_id AND transfers.kind IN ('charge', 'payout')
        JOIN entries ON transfer_id = transfers.id JOIN accounts ON accounts.id = account_id
    WHERE accounts.kind = 'earnings' AND outcome = 'charged'
        AND written_in < (SELECT next_in FROM rollup_marks WHERE name = 'earnings')
    GROUP BY publisher_id, accounts.asset_id
), told AS (
    SELECT coalesce(booked.publisher_id, totals.publisher_id) AS publisher_id,
        concat(coalesce(booked.earned, 0), ' by ', coalesce(booked.calls, 0), ' calls, ', coalesce(booked.direct, 0),
            ' paid at once') AS expected,
        concat(coalesce(totals.earned, 0), ' by ', coalesce(totals.calls, 0), ' calls, ', coalesce(totals.direct, 0),
            ' paid at once') AS found
    FROM booked FULL JOIN earned_totals AS totals
        ON totals.publisher_id = booked.publisher_id AND totals.asset_id = booked.asset_id
)
SELECT concat('publisher ', publisher_id) AS subject, expected, found FROM told WHERE expected <> found LIMIT $1

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

-- name: charges
-- A charge without a call took what it says, and its refunds and penalties are those that are written beside it.
WITH taken AS (
    SELECT cause_id, sum(amount) AS amount FROM transfers JOIN entries ON transfer_id = transfers.id
    WHERE kind = 'charge' AND amount > 0 GROUP BY cause_id
), changed AS (
    SELECT charge_id, coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0) AS refunded,
        coalesce(sum(amount) FILTER (WHERE kind = 'slash'), 0) AS slashed
    FROM charge_changes GROUP BY charge_id
), told AS (
    SELECT id, concat(charges.amount, ' taken, ', charges.refunded, ' refunded, ', charges.slashed, ' slashed')
            AS expected,
        concat(coalesce(taken.amount, 0), ' taken, ', coalesce(changed.refunded, 0), ' refunded, ',
            coalesce(changed.slashed, 0), ' slashed') AS found
    FROM charges LEFT JOIN taken ON cause_id = id LEFT JOIN changed ON charge_id = id
)
SELECT concat('charge ', id) AS subject, expected, found FROM told WHERE expected <> found LIMIT $1

-- name: promotional
-- A promotional account has what its grants have left, and holds back what they do.
WITH given AS (
    SELECT account_id, sum(amount - spent - expired) AS left_over, sum(held) AS held FROM grants GROUP BY account_id
), kept AS (
    SELECT id, posted, held FROM accounts WHERE kind = 'promotional'
)
SELECT concat('account ', coalesce(id, account_id), ' (promotional)') AS subject,
    concat(coalesce(left_over, 0), ', of which held: ', coalesce(given.held, 0)) AS expected,
    concat(coalesce(posted, 0), ', of which held: ', coalesce(kept.held, 0)) AS found
FROM given FULL JOIN kept ON account_id = id
WHERE (coalesce(left_over, 0), coalesce(given.held, 0)) <> (coalesce(posted, 0), coalesce(kept.held, 0)) LIMIT $1

-- name: drawn
-- What grants hold back is drawn for holds that are open, and what was drawn is the promotional part of the hold.
WITH drawn AS (SELECT call_id, sum(amount) AS amount FROM hold_grants GROUP BY call_id),
backing AS (
    SELECT grant_id, sum(hold_grants.amount) AS amount FROM hold_grants JOIN holds USING (call_id)
    WHERE state = 'open' GROUP BY grant_id
)
SELECT concat('grant ', id) AS subject, coalesce(backing.amount, 0)::text AS expected, held::text AS found
FROM grants LEFT JOIN backing ON grant_id = id WHERE held <> coalesce(backing.amount, 0)
UNION ALL
SELECT concat('hold ', coalesce(holds.call_id, drawn.call_id)), coalesce(drawn.amount, 0)::text,
    coalesce(promotional_amount, 0)::text
FROM (SELECT call_id, promotional_amount FROM holds WHERE promotional_amount IS NOT NULL) AS holds
    FULL JOIN drawn ON drawn.call_id = holds.call_id
WHERE coalesce(drawn.amount, 0) <> coalesce(promotional_amount, 0)
LIMIT $1

-- name: parts
-- What charges without a call, and penalties, drew from grants, less what refunds gave back, as it was booked.
WITH drawn AS (
    SELECT cause_id, sum(amount) AS amount FROM charge_grants GROUP BY cause_id
), booked AS (
    SELECT cause_id, -sum(amount) AS amount
    FROM transfers JOIN entries ON transfer_id = transfers.id JOIN accounts ON accounts.id = account_id
    WHERE accounts.kind = 'promotional' AND (transfers.kind IN ('refund', 'slash')
        OR transfers.kind = 'charge' AND cause_id IN (SELECT id FROM charges))
    GROUP BY cause_id
)
SELECT concat('charge, penalty or refund ', coalesce(drawn.cause_id, booked.cause_id)) AS subject,
    coalesce(drawn.amount, 0)::text AS expected, coalesce(booked.amount, 0)::text AS found
FROM drawn FULL JOIN booked ON booked.cause_id = drawn.cause_id
WHERE coalesce(drawn.amount, 0) <> coalesce(booked.amount, 0) LIMIT $1

-- name: granted
-- Each grant, and each expiry in sum, as it was booked.
WITH booked AS (
    SELECT cause_id, amount FROM transfers JOIN entries ON transfer_id = transfers.id
    WHERE kind = 'grant' AND amount > 0
), gone AS (
    SELECT account_id, -sum(amount) AS amount FROM transfers JOIN entries ON transfer_id = transfers.id
    WHERE kind = 'expiry' AND amount < 0 GROUP BY account_id
), expired AS (
    SELECT account_id, sum(expired) AS amount FROM grants WHERE expired > 0 GROUP BY account_id
)
SELECT concat('grant ', coalesce(grants.cause_id, booked.cause_id)) AS subject, coalesce(grants.amount, 0)::text
    AS expected, coalesce(booked.amount, 0)::text AS found
FROM grants FULL JOIN booked ON booked.cause_id = grants.cause_id
WHERE coalesce(grants.amount, 0) <> coalesce(booked.amount, 0)
UNION ALL
SELECT concat('expiries of account ', coalesce(expired.account_id, gone.account_id)), coalesce(expired.amount, 0)::text,
    coalesce(gone.amount, 0)::text
FROM expired FULL JOIN gone ON gone.account_id = expired.account_id
WHERE coalesce(expired.amount, 0) <> coalesce(gone.amount, 0)
LIMIT $1

-- name: refunds
WITH booked AS (
    SELECT cause_id, kind, sum(amount) AS amount FROM transfers JOIN entries ON transfer_id = transfers.id
    WHERE kind IN ('refund', 'slash') AND amount > 0 GROUP BY cause_id, kind
)
SELECT concat(coalesce(changed.kind, booked.kind), ' ', coalesce(changed.id, cause_id)) AS subject,
    coalesce(changed.amount, 0)::text AS expected, coalesce(booked.amount, 0)::text AS found
FROM charge_changes AS changed FULL JOIN booked ON cause_id = changed.id AND booked.kind = changed.kind
WHERE coalesce(changed.amount, 0) <> coalesce(booked.amount, 0) LIMIT $1

-- name: payouts
-- Asked for, gone and come back, as the state says. What calls paid a publisher at once has no such row.
WITH booked AS (
    SELECT cause_id, coalesce(sum(amount) FILTER (WHERE kind = 'payout_request'), 0) AS asked,
        coalesce(sum(amount) FILTER (WHERE kind = 'payout'), 0) AS gone,
        coalesce(sum(amount) FILTER (WHERE kind = 'payout_return'), 0) AS back
    FROM transfers JOIN entries ON transfer_id = transfers.id
    WHERE amount > 0 AND (kind IN ('payout_request', 'payout_return')
        OR kind = 'payout' AND cause_id IN (SELECT id FROM payouts))
    GROUP BY cause_id
), stated AS (
    SELECT id, amount AS asked, CASE WHEN state IN ('sent', 'returned') THEN amount ELSE 0 END AS gone,
        CASE WHEN state IN ('failed', 'returned') THEN amount ELSE 0 END AS back
    FROM payouts
)
SELECT concat('payout ', coalesce(id, cause_id)) AS subject,
    concat(coalesce(stated.asked, 0), ' asked for, ', coalesce(stated.gone, 0), ' gone, ', coalesce(stated.back, 0),
        ' back') AS expected,
    concat(coalesce(booked.asked, 0), ' asked for, ', coalesce(booked.gone, 0), ' gone, ', coalesce(booked.back, 0),
        ' back') AS found
FROM stated FULL JOIN booked ON cause_id = id
WHERE (coalesce(stated.asked, 0), coalesce(stated.gone, 0), coalesce(stated.back, 0))
    <> (coalesce(booked.asked, 0), coalesce(booked.gone, 0), coalesce(booked.back, 0))
LIMIT $1

-- name: aged
-- Up to the newest payout for which earnings had to be of an age, no more was asked for than had been earned by then.
-- What was refunded or taken back is left out: it may have been later.
WITH newest AS (
    SELECT DISTINCT ON (organization_id, asset_id) id, organization_id, asset_id, first_id_at(earned_before) AS first_young
    FROM payouts WHERE earned_before IS NOT NULL AND state NOT IN ('failed', 'returned')
    ORDER BY organization_id, asset_id, id DESC
), compared AS (
    SELECT newest.id, (
        SELECT coalesce(sum(entries.amount), 0)
        FROM accounts JOIN entries ON account_id = accounts.id AND transfer_id < first_young
            JOIN transfers ON transfers.id = transfer_id
        WHERE owner_id = organization_id AND accounts.asset_id = newest.asset_id AND accounts.kind = 'earnings'
            AND transfers.kind IN ('charge', 'slash', 'payout', 'deposit')
    ) AS earned, (
        SELECT sum(amount) FROM payouts
        WHERE organization_id = newest.organization_id AND asset_id = newest.asset_id AND payouts.id <= newest.id
            AND state NOT IN ('failed', 'returned')
    ) AS asked
    FROM newest
)
SELECT concat('payouts up to ', id) AS subject, concat('at most ', earned) AS expected, asked::text AS found
FROM compared WHERE asked > earned LIMIT $1

-- name: leaving
WITH open AS (
    SELECT organization_id, asset_id, sum(amount) AS amount FROM payouts WHERE state IN ('requested', 'submitted')
    GROUP BY organization_id, asset_id
), kept AS (
    SELECT owner_id, asset_id, posted FROM accounts WHERE kind = 'payouts'
)
SELECT concat('payouts of ', coalesce(organization_id, owner_id)) AS subject, coalesce(amount, 0)::text AS expected,
    coalesce(posted, 0)::text AS found
FROM open FULL JOIN kept ON owner_id = organization_id AND kept.asset_id = open.asset_id
WHERE coalesce(amount, 0) <> coalesce(posted, 0) LIMIT $1

-- name: totals
WITH listed AS (SELECT invoice_id, sum(amount_cents) AS cents FROM invoice_lines GROUP BY invoice_id)
SELECT concat('invoice ', id) AS subject, coalesce(cents, 0)::text AS expected, total_cents::text AS found
FROM invoices LEFT JOIN listed ON invoice_id = id
WHERE total_cents <> coalesce(cents, 0) LIMIT $1

-- name: numbers
-- From one to the last, and none is left out.
WITH given AS (SELECT mode, count(number) AS many, coalesce(max(number), 0) AS highest FROM invoices GROUP BY mode)
SELECT concat('invoice numbers of ', mode, ' money') AS subject, concat(last, ' up to ', last) AS expected,
    concat(coalesce(many, 0), ' up to ', coalesce(highest, 0)) AS found
FROM invoice_numbers LEFT JOIN given USING (mode)
WHERE (last, last) <> (coalesce(many, 0), coalesce(highest, 0)) LIMIT $1

-- name: invoiced
-- Lines of calls that were issued, with the usage of their month, in each asset. Drafts are not done yet, and what was
-- voided says nothing.
WITH issued AS (
    SELECT id, organization_id, mode, month FROM invoices WHERE status IN ('issued', 'paid')
), listed AS (
    SELECT issued.id, asset_id, sum(amount_atomic) AS amount
    FROM issued JOIN invoice_lines ON invoice_id = issued.id WHERE line_type = 'calls' GROUP BY issued.id, asset_id
), used AS (
    SELECT issued.id, asset_id, sum(cost) AS amount
    FROM issued JOIN usage_days USING (organization_id) JOIN assets
        ON assets.id = usage_days.asset_id AND assets.mode = issued.mode
    WHERE cost > 0 AND day >= month AND day < month + interval '1 month' GROUP BY issued.id, asset_id
)
SELECT concat('invoice ', coalesce(used.id, listed.id), ' in asset ', coalesce(used.asset_id, listed.asset_id))
    AS subject,
    coalesce(used.amount, 0)::text AS expected, coalesce(listed.amount, 0)::text AS found
FROM used FULL JOIN listed ON listed.id = used.id AND listed.asset_id = used.asset_id
WHERE coalesce(used.amount, 0) <> coalesce(listed.amount, 0) LIMIT $1

-- name: invoices
-- What was due was booked once it was paid, by whom the invoice names. A payment that was taken back stays booked.
WITH due AS (
    SELECT coalesce(cause_id, invoices.id) AS id, total_cents * 10::numeric ^ (decimals - 2) AS amount, CASE paid_source
        WHEN 'wallet' THEN 'funded' ELSE paid_source END AS payer
    FROM invoices JOIN assets ON assets.id = asset_id WHERE status = 'paid' AND total_cents > 0
    UNION ALL
    SELECT past.cause_id, total_cents * 10::numeric ^ (decimals - 2), past.paid_source
    FROM invoice_reopenings AS past JOIN invoices ON invoices.id = invoice_id JOIN assets ON assets.id = asset_id
    WHERE withdrawn_at IS NULL
), booked AS (
    SELECT cause_id, -amount AS amount, accounts.kind AS payer
    FROM transfers JOIN entries ON transfer_id = transfers.id JOIN accounts ON accounts.id = account_id
    WHERE transfers.kind = 'invoice' AND amount < 0
)
SELECT concat('invoice ', coalesce(due.id, cause_id)) AS subject,
    concat(coalesce(due.amount, 0)::numeric(78, 0), ' from ', due.payer) AS expected,
    concat(coalesce(booked.amount, 0), ' from ', booked.payer) AS found
FROM due FULL JOIN booked ON cause_id = due.id
WHERE (coalesce(due.amount, 0), due.payer) IS DISTINCT FROM (coalesce(booked.amount, 0), booked.payer) LIMIT $1

-- name: cards
-- What was paid by card is a deposit or an invoice, and nothing else came in that way. What was taken back and is
-- returned comes in once more.
WITH paid AS (
    SELECT CASE booked_as WHEN 'invoice' THEN coalesce(invoice_cause_id, invoice_id) ELSE id END AS cause_id, provider, amount
    FROM card_payments WHERE state = 'paid'
    UNION ALL
    SELECT id, provider, taken FROM card_reversals WHERE state = 'returned' AND taken > 0
), booked AS (
    SELECT cause_id, accounts.kind AS provider, -amount AS amount
    FROM transfers JOIN entries ON transfer_id = transfers.id JOIN accounts ON accounts.id = account_id
    WHERE accounts.kind IN ('stripe', 'polar') AND transfers.kind <> 'reversal'
)
SELECT concat(coalesce(paid.provider, booked.provider), ' payment ', coalesce(paid.cause_id, booked.cause_id))
    AS subject,
    coalesce(paid.amount, 0)::text AS expected, coalesce(booked.amount, 0)::text AS found
FROM paid FULL JOIN booked ON booked.cause_id = paid.cause_id AND booked.provider = paid.provider
WHERE coalesce(paid.amount, 0) <> coalesce(booked.amount, 0) LIMIT $1

-- name: reversals
-- In sum: a debt is collected in parts, each for a cause of its own.
WITH taken AS (
    SELECT card_payments.provider, asset_id, sum(taken) AS amount
    FROM card_reversals JOIN card_payments ON card_payments.id = payment_id GROUP BY 1, 2
), booked AS (
    SELECT accounts.kind AS provider, asset_id, sum(amount) AS amount
    FROM transfers JOIN entries ON transfer_id = transfers.id JOIN accounts ON accounts.id = account_id
    WHERE transfers.kind = 'reversal' AND accounts.kind IN ('stripe', 'polar') GROUP BY 1, 2
)
SELECT concat('reversals by ', coalesce(taken.provider, booked.provider)) AS subject,
    coalesce(taken.amount, 0)::text AS expected, coalesce(booked.amount, 0)::text AS found
FROM taken FULL JOIN booked ON booked.provider = taken.provider AND booked.asset_id = taken.asset_id
WHERE coalesce(taken.amount, 0) <> coalesce(booked.amount, 0) LIMIT $1
