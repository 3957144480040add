-- name: arrived
SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS arrived (id, payout_id)

-- name: book
-- Money that arrived on chain: from the clearing account to whoever it was for, less the platform's fee; of a call,
-- the usage row too.
WITH settled AS (
    -- Payments that the chain has settled, and the id of its payout for each that is in the publisher's own wallet.
    SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS arrived (id, payout_id)
), arrived AS (
    SELECT id, payout_id, CASE purpose WHEN 'call' THEN 'charge' ELSE 'deposit' END AS kind, credit_id, asset_id, amount,
        fee, coalesce(usage ->> 'description', purpose) AS description, payer, usage
    FROM settled JOIN payments USING (id)
    -- The others are somebody else's money on its way to somebody else.
    WHERE purpose <> 'facilitated'
), causes AS (
    SELECT id AS transfer_id, kind, id AS cause_id, description, asset_id, credit_id, amount, fee FROM arrived
    UNION ALL
    -- The payer paid the publisher's wallet itself, so what was just earned has been paid out as well.
    SELECT payout_id, 'payout', id, description, asset_id, credit_id, -amount, 0 FROM arrived WHERE payout_id IS NOT NULL
), legs AS (
    SELECT transfer_id, chain.id AS account_id, -amount AS amount
    FROM causes JOIN accounts AS chain ON chain.asset_id = causes.asset_id AND chain.kind = 'chain'
    UNION ALL
    SELECT transfer_id, credit_id, amount - fee FROM causes
    UNION ALL
    SELECT transfer_id, fees.id, fee
    FROM causes JOIN accounts AS fees ON fees.asset_id = causes.asset_id AND fees.kind = 'fees'
    WHERE fee > 0
), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT account_id FROM legs) ORDER BY id FOR NO KEY UPDATE OF accounts
), changed AS (
    UPDATE accounts SET posted = posted + sums.amount
    FROM (
        SELECT locked.id, sum(amount) AS amount FROM legs JOIN locked ON locked.id = legs.account_id GROUP BY locked.id
    ) AS sums
    WHERE accounts.id = sums.id
), moved AS (
    INSERT INTO transfers (id, kind, cause_id, description) SELECT transfer_id, kind, cause_id, description FROM causes
), told AS (
    -- There is one for every call, so it is written for those who asked for it only.
    INSERT INTO events (organization_id, type, payload)
    SELECT owner_id, news.type, jsonb_build_object('payment_id', arrived.id, 'asset_id', arrived.asset_id,
        'amount_atomic', amount::text, 'fee_atomic', fee::text, 'description', left(description, 500))
    FROM arrived JOIN accounts ON accounts.id = credit_id CROSS JOIN LATERAL (
        SELECT CASE arrived.kind WHEN 'charge' THEN 'payment.settled' ELSE 'wallet.deposited' END AS type) AS news
    WHERE EXISTS (
        SELECT FROM webhooks
        WHERE organization_id = owner_id AND deleted_at IS NULL AND is_enabled AND events && ARRAY[news.type, '*'])
), used AS (
    INSERT INTO usage_events (call_id, publisher_id, organization_id, payer, rail, method, path, outcome, status,
        asset_id, cost)
    SELECT id, (usage ->> 'publisher_id')::uuid, (usage ->> 'organization_id')::uuid, payer, 'x402', usage ->> 'method',
        usage ->> 'path', 'charged', (usage ->> 'status')::integer, asset_id, amount
    FROM arrived WHERE kind = 'charge'
    ON CONFLICT (call_id) DO NOTHING
)
INSERT INTO entries (transfer_id, account_id, amount)
SELECT transfer_id, account_id, amount FROM legs WHERE amount <> 0
