-- name: lock
-- Before ``open``, in its transaction: what that reads then is what everybody has committed, of every table.
WITH capped AS (
    SELECT key_id FROM key_caps WHERE key_id = ANY ($3::uuid[]) ORDER BY key_id FOR NO KEY UPDATE
)
SELECT accounts.id FROM accounts
WHERE (owner_id, asset_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) AND kind IN ('funded', 'promotional')
    AND (SELECT count(*) FROM capped) >= 0
ORDER BY accounts.id FOR NO KEY UPDATE OF accounts

-- name: open
-- As ``open_bound``, for owners who have promotional money: it goes first, and of it what expires first. Nothing is drawn
-- from it for a call that would pay its own owner: promotional money never comes back as earnings.
WITH asked AS (
    SELECT asked.*, (
        SELECT id FROM accounts
        WHERE accounts.owner_id = asked.owner_id AND accounts.asset_id = asked.asset_id AND kind = 'funded'
    ) AS payer_id, (
        SELECT id FROM accounts
        WHERE accounts.owner_id = asked.owner_id AND accounts.asset_id = asked.asset_id AND kind = 'promotional'
    ) AS promotional_id, CASE
        WHEN (SELECT created_by FROM organizations WHERE id = asked.owner_id) = (
            SELECT created_by FROM organizations WHERE id = (SELECT owner_id FROM accounts WHERE id = asked.payee_id)
        ) THEN 0 ELSE asked.amount
    END AS wanted
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::numeric[], $7::uuid[], $8::text[], $9::bytea[])
        WITH ORDINALITY AS asked (call_id, owner_id, payee_id, asset_id, amount, key_id, name, digest, place)
), already AS (
    -- Asked again after an error of its batch: its own hold must not be what it lacks now.
    SELECT asked.call_id FROM asked JOIN holds ON holds.call_id = asked.call_id AND state NOT IN ('posted', 'void')
), {repeated}, {capped}, locked AS (
    SELECT id, posted - held AS available FROM accounts
    WHERE id IN (SELECT payer_id FROM asked UNION ALL SELECT promotional_id FROM asked)
        AND (SELECT count(*) FROM capped) >= 0
    ORDER BY id FOR NO KEY UPDATE OF accounts
), live AS (
    -- Grants come after their account, here as everywhere. Locking reads what they have left now, and not what they had
    -- when this statement began to wait for the account.
    SELECT id, account_id, expires_at, amount - held - spent - expired AS remaining FROM grants
    WHERE account_id IN (SELECT promotional_id FROM asked) AND closed_at IS NULL AND expires_at > now()
        AND amount > held + spent + expired AND (SELECT count(*) FROM locked) >= 0
    ORDER BY account_id, expires_at, id FOR NO KEY UPDATE OF grants
), pots AS (
    SELECT account_id, sum(remaining) AS remaining FROM live GROUP BY account_id
), counted AS (
    SELECT asked.*, available, coalesce(pots.remaining, 0) AS promotional,
        counted_millionths(amount, decimals) AS counted
    FROM asked JOIN locked ON locked.id = asked.payer_id
        JOIN assets ON assets.id = asked.asset_id
        LEFT JOIN pots ON pots.account_id = asked.promotional_id
    WHERE asked.call_id NOT IN (SELECT call_id FROM repeated) AND asked.call_id NOT IN (SELECT call_id FROM already)
), considered AS (
    SELECT counted.*, capped.key_id IS NOT NULL AS is_capped, capped.today,
        CASE
            WHEN counted > per_call THEN 'per_call'
            WHEN capped.spent_total + sum(counted) OVER of_key > total THEN 'total'
            WHEN capped.spent_today + sum(counted) OVER of_key > per_day THEN 'per_day'
            WHEN sum(amount) OVER of_payer - least(sum(wanted) OVER of_payer, promotional) > available THEN 'short'
        END AS obstacle
    FROM counted LEFT JOIN capped ON capped.key_id = counted.key_id
    WINDOW of_key AS (PARTITION BY counted.key_id ORDER BY place), of_payer AS (PARTITION BY payer_id ORDER BY place)
), {claimed}, opened AS (
    -- Calls stand in a row, each as long as what it wants, and grants in another: where two lie side by side, the one
    -- is paid from the other. What has no grant beside it is paid from the funded account.
    SELECT considered.*, sum(wanted) OVER of_payer AS ends, sum(wanted) OVER of_payer - wanted AS starts
    FROM considered
    WHERE obstacle IS NULL AND (name IS NULL OR call_id IN (SELECT call_id FROM claimed))
    WINDOW of_payer AS (PARTITION BY payer_id ORDER BY place)
), spans AS (
    SELECT id, account_id, sum(remaining) OVER of_account AS ends,
        sum(remaining) OVER of_account - remaining AS starts
    FROM live WINDOW of_account AS (PARTITION BY account_id ORDER BY expires_at, id)
), parts AS (
    SELECT call_id, spans.id AS grant_id, least(opened.ends, spans.ends) - greatest(opened.starts, spans.starts) AS amount
    FROM opened JOIN spans ON spans.account_id = opened.promotional_id
        AND opened.starts < spans.ends AND spans.starts < opened.ends AND wanted > 0
), drawn AS (
    SELECT call_id, sum(amount) AS drawn FROM parts GROUP BY call_id
), split AS (
    SELECT opened.*, drawn FROM opened LEFT JOIN drawn ON drawn.call_id = opened.call_id
), reserved AS (
    UPDATE accounts SET held = held + total
    FROM (
        SELECT account_id, sum(amount) AS total FROM (
            SELECT payer_id AS account_id, amount - coalesce(drawn, 0) AS amount FROM split
            UNION ALL
            SELECT promotional_id, drawn FROM split WHERE drawn IS NOT NULL
        ) AS legs GROUP BY account_id
    ) AS sums
    WHERE accounts.id = sums.account_id
), set_aside AS (
    UPDATE grants SET held = held + sums.amount
    FROM (SELECT grant_id, sum(amount) AS amount FROM parts GROUP BY grant_id) AS sums
    WHERE grants.id = sums.grant_id
), {spending}, {told}, held AS (
    INSERT INTO holds (call_id, payer_id, payee_id, asset_id, amount, expires_at, is_keyed, key_id, counted, counted_on,
        promotional_id, promotional_amount)
    SELECT call_id, payer_id, payee_id, asset_id, amount, now() + $6, name IS NOT NULL,
        CASE WHEN is_capped THEN key_id END, CASE WHEN is_capped THEN counted END, today,
        CASE WHEN drawn IS NOT NULL THEN promotional_id END, drawn
    FROM split
), noted AS (
    INSERT INTO hold_grants (call_id, grant_id, amount) SELECT call_id, grant_id, amount FROM parts
)
SELECT asked.call_id, split.call_id IS NOT NULL OR already.call_id IS NOT NULL AS is_open,
    CASE
        WHEN split.call_id IS NOT NULL OR already.call_id IS NOT NULL THEN NULL
        WHEN repeated.call_id IS NOT NULL THEN 'repeated'
        WHEN considered.obstacle IS NULL AND considered.call_id IS NOT NULL THEN 'repeated'
        ELSE coalesce(considered.obstacle, 'short')
    END AS obstacle,
    CASE considered.obstacle WHEN 'per_call' THEN per_call WHEN 'per_day' THEN per_day
        WHEN 'total' THEN capped.total END AS cap,
    CASE considered.obstacle WHEN 'per_call' THEN per_call WHEN 'per_day' THEN greatest(per_day - spent_today, 0)
        WHEN 'total' THEN greatest(capped.total - spent_total, 0) END AS remaining,
    CASE considered.obstacle WHEN 'per_day' THEN day_reached_on IS NOT DISTINCT FROM capped.today
        WHEN 'total' THEN is_total_reached ELSE true END AS is_told,
    split.drawn IS NOT NULL AS is_drawn, asked.payer_id,
    EXISTS (SELECT FROM grants WHERE account_id = asked.promotional_id AND closed_at IS NULL) AS is_promoted
FROM asked
    LEFT JOIN split ON split.call_id = asked.call_id
    LEFT JOIN already ON already.call_id = asked.call_id
    LEFT JOIN repeated ON repeated.call_id = asked.call_id
    LEFT JOIN considered ON considered.call_id = asked.call_id
    LEFT JOIN capped ON capped.key_id = asked.key_id

-- name: post
-- As ``post`` of ``holds``, for holds that draw on promotional money: it pays first, and what it does not pay the funded
-- account does.
WITH asked AS (
    SELECT * FROM unnest($1::text::uuid[], $2::text::numeric[], $3::text::numeric[], string_to_array($4, chr(31)),
        $5::text::uuid[], string_to_array($6, chr(31)), string_to_array($7, chr(31)), $8::text::integer[])
        AS asked (call_id, spent, fee, description, publisher_id, method, path, status)
), closed AS (
    UPDATE holds SET state = 'posted', spent = asked.spent
    FROM asked
    WHERE holds.call_id = asked.call_id AND holds.state NOT IN ('posted', 'void') AND holds.promotional_id IS NOT NULL
    RETURNING asked.*, holds.payer_id, holds.payee_id, holds.asset_id, holds.amount, holds.promotional_id,
        holds.promotional_amount, least(asked.spent, holds.promotional_amount) AS given
), legs AS (
    SELECT call_id, payer_id AS account_id, given - spent AS amount, amount - promotional_amount AS released FROM closed
    UNION ALL
    SELECT call_id, promotional_id, -given, promotional_amount FROM closed
    UNION ALL
    SELECT call_id, payee_id, spent - fee, 0 FROM closed
    UNION ALL
    SELECT call_id, fees.id, fee, 0
    FROM closed JOIN accounts AS fees ON fees.owner_id = '00000000-0000-7000-8000-000000000000'
        AND fees.asset_id = closed.asset_id AND fees.kind = 'fees'
    WHERE fee > 0
), {locked_legs}, {changed}, parts AS (
    -- What expires first is spent first, here too when a call costs less than was held for it.
    SELECT hold_grants.grant_id, hold_grants.amount AS released,
        least(hold_grants.amount, greatest(0, given + hold_grants.amount - sum(hold_grants.amount) OVER of_call)) AS spent
    FROM closed JOIN hold_grants ON hold_grants.call_id = closed.call_id
        JOIN grants ON grants.id = hold_grants.grant_id
    WINDOW of_call AS (PARTITION BY hold_grants.call_id ORDER BY grants.expires_at, grants.id)
), used_up AS (
    UPDATE grants SET held = held - sums.released, spent = grants.spent + sums.spent,
        closed_at = CASE WHEN grants.spent + sums.spent + expired = amount THEN now() END
    FROM (SELECT grant_id, sum(released) AS released, sum(spent) AS spent FROM parts GROUP BY grant_id) AS sums
    WHERE grants.id = sums.grant_id AND (SELECT count(*) FROM locked) >= 0
), {moved}, {booked}, {used}
SELECT call_id, payer_id, payer.balance + promotional.balance AS balance,
    payer.balance - payer.change + promotional.balance - promotional.change AS balance_before
FROM closed JOIN changed AS payer ON payer.id = closed.payer_id
    JOIN changed AS promotional ON promotional.id = closed.promotional_id

-- name: void
-- As ``void`` of ``holds``. What goes back to a grant that has expired meanwhile is taken by the next expiry.
WITH closed AS (
    UPDATE holds SET state = 'void'
    WHERE call_id = ANY ($1::uuid[]) AND state NOT IN ('posted', 'void') AND promotional_id IS NOT NULL
    RETURNING call_id, payer_id, amount, is_keyed, key_id, counted, counted_on, promotional_id, promotional_amount
), {capped_of_closed}, {given_back}, legs AS (
    SELECT payer_id AS account_id, amount - promotional_amount AS amount FROM closed
    UNION ALL
    SELECT promotional_id, promotional_amount FROM closed
), locked AS (
    SELECT id FROM accounts
    WHERE id IN (SELECT account_id FROM legs) AND (SELECT count(*) FROM capped) >= 0
    ORDER BY id FOR NO KEY UPDATE OF accounts
), unused AS (
    UPDATE grants SET held = held - sums.amount
    FROM (
        SELECT grant_id, sum(hold_grants.amount) AS amount
        FROM closed JOIN hold_grants ON hold_grants.call_id = closed.call_id GROUP BY grant_id
    ) AS sums
    WHERE grants.id = sums.grant_id AND (SELECT count(*) FROM locked) >= 0
), {forgotten}, released AS (
    UPDATE accounts SET held = held - sums.amount
    FROM (
        SELECT locked.id, sum(amount) AS amount
        FROM legs JOIN locked ON locked.id = legs.account_id GROUP BY locked.id
    ) AS sums
    WHERE accounts.id = sums.id
)
SELECT call_id FROM closed

-- name: expired
SELECT call_id FROM holds WHERE state = 'open' AND expires_at <= now() AND promotional_id IS NOT NULL
ORDER BY expires_at LIMIT $1
FOR UPDATE SKIP LOCKED

-- name: lock_funded
SELECT id FROM accounts WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: unpromote
-- Asked once the accounts are locked: whoever gives a grant has done so by now, and it is seen.
UPDATE accounts SET is_promoted = false
WHERE id = ANY ($1::uuid[]) AND is_promoted AND NOT EXISTS (
    SELECT FROM accounts AS promotional JOIN grants ON grants.account_id = promotional.id AND closed_at IS NULL
    WHERE promotional.owner_id = accounts.owner_id AND promotional.asset_id = accounts.asset_id
        AND promotional.kind = 'promotional')
