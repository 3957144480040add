-- name: book_payment
-- Money that arrived on chain: from the clearing account to whoever it was for, less the platform's fee.
WITH legs AS (
    SELECT chain.id AS account_id, -$4::numeric AS amount FROM accounts AS chain
    WHERE chain.asset_id = $3 AND chain.kind = 'chain'
    UNION ALL
    SELECT $2::uuid, $4 - $5::numeric
    UNION ALL
    SELECT fees.id, $5 FROM accounts AS fees WHERE fees.asset_id = $3 AND fees.kind = 'fees' AND $5 > 0
), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT account_id FROM legs) ORDER BY id FOR NO KEY UPDATE OF accounts
), changed AS (
    UPDATE accounts SET posted = posted + legs.amount
    FROM legs JOIN locked ON locked.id = legs.account_id
    WHERE accounts.id = legs.account_id
), moved AS (
    INSERT INTO transfers (id, kind, cause_id, description) VALUES ($1, $6, $1, $7)
), told AS (
    -- There is one for every call, so it is written for those who asked for it only.
    INSERT INTO events (organization_id, type, payload)
    SELECT owner_id, news.type, jsonb_build_object('payment_id', $1, 'asset_id', $3, 'amount_atomic', $4::text,
        'fee_atomic', $5::text, 'description', left($7, 500))
    FROM accounts CROSS JOIN LATERAL (
        SELECT CASE $6 WHEN 'charge' THEN 'payment.settled' ELSE 'wallet.deposited' END AS type) AS news
    WHERE accounts.id = $2 AND EXISTS (
        SELECT FROM webhooks
        WHERE organization_id = owner_id AND deleted_at IS NULL AND is_enabled AND events && ARRAY[news.type, '*'])
)
INSERT INTO entries (transfer_id, account_id, amount)
SELECT $1, account_id, amount FROM legs WHERE amount <> 0

-- name: book_paid_out
-- The payer paid the publisher's wallet itself, so what was just earned has been paid out as well.
WITH legs AS (
    SELECT chain.id AS account_id, $5::numeric AS amount FROM accounts AS chain
    WHERE chain.asset_id = $4 AND chain.kind = 'chain'
    UNION ALL
    SELECT $3::uuid, -$5
), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT account_id FROM legs) ORDER BY id FOR NO KEY UPDATE OF accounts
), changed AS (
    UPDATE accounts SET posted = posted + legs.amount
    FROM legs JOIN locked ON locked.id = legs.account_id
    WHERE accounts.id = legs.account_id
), moved AS (
    INSERT INTO transfers (id, kind, cause_id, description) VALUES ($1, 'payout', $2, $6)
)
INSERT INTO entries (transfer_id, account_id, amount) SELECT $1, account_id, amount FROM legs
