-- What proves somebody, so that they may be given something: a deposit as far as it stayed, less what a bank took back of it,
-- whether from the balance or, as far as that was spent, as a debt.
CREATE OR REPLACE FUNCTION deposited_millionths(depositor uuid, wanted_mode text) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(CASE WHEN decimals <= 6 THEN stayed.amount * 10::numeric ^ (6 - decimals)
        ELSE div(stayed.amount, 10::numeric ^ (decimals - 6)) END), 0)::numeric(100, 0)
    FROM accounts JOIN assets ON assets.id = accounts.asset_id CROSS JOIN LATERAL (
        SELECT coalesce(sum(first.amount), 0) AS amount FROM (
            SELECT transfer_id, amount FROM entries WHERE account_id = accounts.id ORDER BY transfer_id LIMIT 1000
        ) AS first JOIN transfers ON transfers.id = first.transfer_id AND transfers.kind IN ('deposit', 'reversal')
    ) AS came CROSS JOIN LATERAL (
        SELECT coalesce(sum(owed), 0) AS amount FROM card_reversals JOIN card_payments ON card_payments.id = payment_id
        WHERE organization_id = depositor AND card_payments.asset_id = accounts.asset_id AND booked_as = 'deposit' AND owed > 0
    ) AS debt CROSS JOIN LATERAL (
        SELECT greatest(came.amount - debt.amount, 0) AS amount
    ) AS stayed
    WHERE accounts.owner_id = depositor AND accounts.mode = wanted_mode AND accounts.kind = 'funded'
$$;

-- And a card or bank account that has a fingerprint: by an id alone, the same one would be another each time it is added.
CREATE OR REPLACE FUNCTION cards_of(holder uuid, wanted_mode text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT fingerprint FROM payment_methods
    WHERE organization_id = holder AND mode = wanted_mode AND deleted_at IS NULL AND fingerprint IS NOT NULL
    ORDER BY created_at
$$;
