-- What a payer was charged by one publisher for several calls at once is one transfer, with a usage row for each call:
-- three entries and a transfer for each call were two thirds of what it took to book one.

ALTER TABLE transfers ADD COLUMN calls integer NOT NULL DEFAULT 1;
-- Of rows that are there it is known.
ALTER TABLE transfers ADD CONSTRAINT transfers_calls_check CHECK (calls > 0) NOT VALID;

-- Null where a call's charge is its own, a transfer whose cause it is.
ALTER TABLE usage_events ADD COLUMN charged_as uuid;

DROP TRIGGER stays_of_somebody ON usage_events;
CREATE TRIGGER stays_of_somebody
    BEFORE UPDATE OF call_id, publisher_id, organization_id, asset_id, charged_as ON usage_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
