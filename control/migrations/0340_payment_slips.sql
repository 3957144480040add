-- What a facilitator said it settled and is not booked yet, where nobody else could say it again: durable when the calls
-- are answered, and booked a moment later. A row is written once, and removed when its payments are booked.

CREATE TABLE payment_slips (
    -- The first of its payments.
    id          uuid PRIMARY KEY,
    payment_ids uuid[] NOT NULL,
    -- The transaction of each.
    hashes      bytea[] NOT NULL CHECK (cardinality(hashes) = cardinality(payment_ids)),
    written_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TRIGGER stay BEFORE UPDATE OR TRUNCATE ON payment_slips
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
