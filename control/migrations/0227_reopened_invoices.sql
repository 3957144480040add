-- An invoice whose payment a bank took back is to be paid again.

-- What its payment is booked under: its own id, and another one after each that was taken back, because a cause moves money
-- of one kind once.
ALTER TABLE invoices ADD COLUMN cause_id uuid;
ALTER TABLE card_payments ADD COLUMN invoice_cause_id uuid;

-- A payment that was taken back stays booked, and so does its reversal.
CREATE TABLE invoice_reopenings (
    reversal_id    uuid PRIMARY KEY REFERENCES card_reversals,
    invoice_id     uuid NOT NULL REFERENCES invoices,
    cause_id       uuid NOT NULL,
    paid_source    text NOT NULL,
    paid_reference text,
    paid_at        timestamptz NOT NULL,
    reopened_at    timestamptz NOT NULL DEFAULT now(),
    -- The dispute was won before anybody paid again.
    withdrawn_at   timestamptz
);
CREATE INDEX ON invoice_reopenings (invoice_id);
