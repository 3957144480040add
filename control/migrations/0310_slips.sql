-- What was charged to purses and is not booked yet: durable when a call is answered, and turned into entries, transfers
-- and usage rows of many calls at a time, a moment later. A row is written once, and removed by what books it.

CREATE TABLE slips (
    -- The first of its calls.
    call_id  uuid PRIMARY KEY,
    purse_id uuid NOT NULL,
    payer_id uuid NOT NULL,
    -- What its calls cost together. The purse has it no more, and the account holds it until they are booked.
    amount   numeric(78, 0) NOT NULL CHECK (amount >= 0),
    -- A line for each call, as gateway/ledger/slips.sql reads it.
    calls    text NOT NULL
);
-- Nothing is found by what is in it, and it is gone before compressing it is worth anything.
ALTER TABLE slips SET (toast_tuple_target = 8160);
ALTER TABLE slips ALTER COLUMN calls SET STORAGE EXTERNAL;

CREATE TRIGGER stay BEFORE UPDATE OR TRUNCATE ON slips
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
