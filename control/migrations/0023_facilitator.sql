-- Payments that are settled for others: they move no money of this ledger, and spend gas that is ours.

ALTER TABLE payments
    DROP CONSTRAINT payments_purpose_check,
    ADD CONSTRAINT payments_purpose_check CHECK (purpose IN ('call', 'deposit', 'facilitated'));

-- The gas that an organization's settlements may have used on a day, UTC, in gas units; the platform's row is their sum.
CREATE TABLE gas_budgets (
    organization_id uuid NOT NULL REFERENCES organizations,
    day             date NOT NULL,
    gas             bigint NOT NULL CHECK (gas >= 0),
    PRIMARY KEY (organization_id, day)
);
