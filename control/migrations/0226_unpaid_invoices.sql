-- Until when an invoice is to be paid, who was reminded of it, and whose could not be made.

-- When the job began to look at the month, so that what failed before and did not fail again is forgotten.
ALTER TABLE invoice_runs ADD COLUMN begun_at timestamptz NOT NULL DEFAULT now();

CREATE TABLE invoice_failures (
    organization_id uuid NOT NULL REFERENCES organizations,
    month           date NOT NULL,
    error           text NOT NULL,
    failed_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, month)
);

ALTER TABLE invoices ADD COLUMN due_at timestamptz;
UPDATE invoices SET due_at = issued_at + interval '14 days' WHERE status = 'issued';
CREATE INDEX ON invoices (due_at, id) WHERE status = 'issued';
CREATE INDEX ON invoices (organization_id) WHERE status = 'issued';

-- Each is sent once. A date of its own, because an invoice whose payment was taken back is due anew.
CREATE TABLE invoice_reminders (
    invoice_id uuid NOT NULL REFERENCES invoices,
    due_at     timestamptz NOT NULL,
    stage      text NOT NULL CHECK (stage IN ('due_soon', 'overdue', 'overdue_still', 'restricted')),
    sent_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (invoice_id, due_at, stage)
);
