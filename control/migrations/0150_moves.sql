-- Money moves for more reasons than calls: what is given, taken back, returned, billed and paid out.

ALTER TABLE accounts DROP CONSTRAINT accounts_kind_check, DROP CONSTRAINT accounts_check;
ALTER TABLE accounts
    ADD CONSTRAINT accounts_kind_check CHECK (kind IN
        ('funded', 'promotional', 'earnings', 'payouts', 'fees', 'promotion_budget', 'revenue',
         'chain', 'stripe', 'polar', 'bank')),
    -- Money comes from outside and leaves through the clearing accounts, so they alone go below zero.
    ADD CONSTRAINT accounts_not_overdrawn CHECK (kind IN ('chain', 'stripe', 'polar', 'bank') OR posted - held >= 0);

ALTER TABLE transfers DROP CONSTRAINT transfers_kind_check;
ALTER TABLE transfers ADD CONSTRAINT transfers_kind_check CHECK (kind IN
    ('charge', 'deposit', 'payout', 'grant', 'expiry', 'refund', 'slash', 'payout_request', 'payout_return', 'invoice',
     'reversal'));
