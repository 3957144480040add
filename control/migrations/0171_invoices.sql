-- One invoice for an organization's month, in live or test money.

CREATE TABLE invoices (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    -- What it is booked in once it is paid, a dollar for a unit.
    asset_id        uuid NOT NULL,
    mode            text NOT NULL CHECK (mode IN ('live', 'test')),
    month           date NOT NULL CHECK (extract(day FROM month) = 1),
    currency        text NOT NULL DEFAULT 'usd' CHECK (currency = 'usd'),
    status          text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'issued', 'paid', 'void')),
    number          bigint CHECK (number > 0),
    -- What is due: that of its lines, what was paid already among them.
    total_cents     bigint NOT NULL DEFAULT 0 CHECK (total_cents >= 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    issued_at       timestamptz,
    paid_at         timestamptz,
    voided_at       timestamptz,
    paid_source     text,
    paid_reference  text,
    FOREIGN KEY (asset_id, mode) REFERENCES assets (id, mode),
    UNIQUE (mode, number),
    CHECK ((number IS NULL) = (issued_at IS NULL)),
    CHECK (status <> 'draft' OR issued_at IS NULL),
    CHECK (status NOT IN ('issued', 'paid') OR issued_at IS NOT NULL),
    CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CHECK ((status = 'void') = (voided_at IS NOT NULL))
);
-- One that was voided may be made again.
CREATE UNIQUE INDEX ON invoices (organization_id, mode, month) WHERE status <> 'void';
CREATE INDEX ON invoices (month, id);

CREATE TABLE invoice_lines (
    invoice_id    uuid NOT NULL REFERENCES invoices,
    position      integer NOT NULL,
    line_type     text NOT NULL CHECK (line_type IN ('plan', 'meter', 'calls', 'paid')),
    description   text NOT NULL,
    quantity      text NOT NULL,
    unit_price    text NOT NULL,
    amount_cents  bigint NOT NULL,
    -- Calls, and what was paid for them, to the atomic unit.
    asset_id      uuid REFERENCES assets,
    amount_atomic numeric(78, 0),
    PRIMARY KEY (invoice_id, position),
    CHECK ((asset_id IS NULL) = (amount_atomic IS NULL))
);

-- What was issued says forever what it said.
CREATE FUNCTION refuse_change_of_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT status FROM invoices WHERE id = coalesce(NEW.invoice_id, OLD.invoice_id)) <> 'draft' THEN
        RAISE check_violation USING MESSAGE = 'the lines of an invoice that was issued never change';
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER only_drafts_change BEFORE INSERT OR UPDATE OR DELETE ON invoice_lines
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_issued();

-- Counted in a row, not by a sequence, which has gaps: a number that is taken back with its transaction is given again.
CREATE TABLE invoice_numbers (
    mode text PRIMARY KEY CHECK (mode IN ('live', 'test')),
    last bigint NOT NULL DEFAULT 0
);
INSERT INTO invoice_numbers (mode) VALUES ('live'), ('test');

-- How far the invoices of a month are made, so that many replicas make them once and a dead one is followed by the next.
CREATE TABLE invoice_runs (
    month        date PRIMARY KEY,
    done_up_to   uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    leased_until timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);
