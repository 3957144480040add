-- A payment for an invoice, disputed, and won when the invoice was paid by something else, is in its payer's balance by then.
-- What a bank takes back of it after that is taken from there, and not from what the other payment brought.
ALTER TABLE card_reversals ADD COLUMN is_of_balance boolean NOT NULL DEFAULT false;
-- One that took a part of either has a row for each.
ALTER TABLE card_reversals DROP CONSTRAINT card_reversals_provider_provider_id_key;
ALTER TABLE card_reversals ADD UNIQUE (provider, provider_id, is_of_balance);

-- As before, but that such a debt counts too.
CREATE OR REPLACE FUNCTION deposited_millionths(depositor uuid, wanted_mode text) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(CASE WHEN decimals <= 6 THEN stayed.amount * 10::numeric ^ (6 - decimals)
        ELSE div(stayed.amount, 10::numeric ^ (decimals - 6)) END), 0)::numeric(100, 0)
    FROM accounts JOIN assets ON assets.id = accounts.asset_id CROSS JOIN LATERAL (
        SELECT coalesce(sum(first.amount), 0) AS amount FROM (
            SELECT transfer_id, amount FROM entries WHERE account_id = accounts.id ORDER BY transfer_id LIMIT 1000
        ) AS first JOIN transfers ON transfers.id = first.transfer_id AND transfers.kind IN ('deposit', 'reversal')
    ) AS came CROSS JOIN LATERAL (
        SELECT coalesce(sum(owed), 0) AS amount FROM card_reversals JOIN card_payments ON card_payments.id = payment_id
        WHERE organization_id = depositor AND card_payments.asset_id = accounts.asset_id
            AND (booked_as = 'deposit' OR is_of_balance) AND owed > 0
    ) AS debt CROSS JOIN LATERAL (
        SELECT greatest(came.amount - debt.amount, 0) AS amount
    ) AS stayed
    WHERE accounts.owner_id = depositor AND accounts.mode = wanted_mode AND accounts.kind = 'funded'
$$;
