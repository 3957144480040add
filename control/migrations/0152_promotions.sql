-- What people claim: bonuses, a little every day, and something for those whom they bring along.

-- A person's claims are counted over all organizations that they made.
CREATE INDEX ON organizations (created_by);

-- How often agents behind one network address claimed on a day: anybody can make as many agents as they like.
CREATE TABLE claim_addresses (
    unit   text NOT NULL,
    day    date NOT NULL,
    claims integer NOT NULL CHECK (claims > 0),
    PRIMARY KEY (unit, day)
);

-- Cards that somebody had a bonus for: the same card again is none, whoever has it.
CREATE TABLE bonus_cards (
    fingerprint text NOT NULL,
    mode        text NOT NULL CHECK (mode IN ('live', 'test')),
    PRIMARY KEY (fingerprint, mode)
);

CREATE TABLE referral_codes (
    organization_id uuid PRIMARY KEY REFERENCES organizations,
    code            text NOT NULL UNIQUE CHECK (code ~ '^[0-9A-HJKMNP-TV-Z]{10}$'),
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE referrals (
    id              uuid PRIMARY KEY,
    -- Who was brought along: somebody is so once, whatever organizations they make.
    person_id       uuid NOT NULL REFERENCES users,
    organization_id uuid NOT NULL REFERENCES organizations,
    mode            text NOT NULL CHECK (mode IN ('live', 'test')),
    referrer_id     uuid NOT NULL REFERENCES organizations CHECK (referrer_id <> organization_id),
    created_at      timestamptz NOT NULL DEFAULT now(),
    -- When it was last looked whether they have deposited.
    checked_at      timestamptz NOT NULL DEFAULT now(),
    rewarded_at     timestamptz,
    -- What the referrer had for it, in millionths of a dollar.
    earned          numeric(78, 0) NOT NULL DEFAULT 0 CHECK (earned >= 0),
    UNIQUE (person_id, mode)
);
CREATE INDEX ON referrals (referrer_id, mode);
CREATE INDEX ON referrals (checked_at) WHERE rewarded_at IS NULL;

-- What an organization has deposited, in millionths of a dollar. Among the first thousand things that happened to its money: a
-- deposit comes before what it pays for, and a balance with millions of calls is not read as a whole.
CREATE FUNCTION deposited_millionths(depositor uuid, wanted_mode text) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(CASE WHEN decimals <= 6 THEN first.amount * 10::numeric ^ (6 - decimals)
        ELSE div(first.amount, 10::numeric ^ (decimals - 6)) END), 0)::numeric(100, 0)
    FROM accounts JOIN assets ON assets.id = accounts.asset_id CROSS JOIN LATERAL (
        SELECT transfer_id, amount FROM entries WHERE account_id = accounts.id ORDER BY transfer_id LIMIT 1000
    ) AS first JOIN transfers ON transfers.id = first.transfer_id AND transfers.kind = 'deposit'
    WHERE accounts.owner_id = depositor AND accounts.mode = wanted_mode AND accounts.kind = 'funded'
$$;

-- Late bound: the table of payment methods comes with another migration.
CREATE FUNCTION cards_of(holder uuid, wanted_mode text) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF to_regclass('payment_methods') IS NOT NULL THEN
        RETURN QUERY SELECT coalesce(fingerprint, provider || ':' || provider_id) FROM payment_methods
            WHERE organization_id = holder AND mode = wanted_mode AND deleted_at IS NULL ORDER BY created_at;
    END IF;
END $$;
