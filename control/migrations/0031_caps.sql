-- How much an API key may spend. Amounts are millionths of a dollar, whatever asset is spent: every asset counts at
-- its face value, and a fraction of a millionth counts as one.

CREATE TABLE key_caps (
    key_id           uuid PRIMARY KEY REFERENCES api_keys,
    -- Null is no cap.
    per_call         numeric(78, 0) CHECK (per_call >= 0),
    per_day          numeric(78, 0) CHECK (per_day >= 0),
    total            numeric(78, 0) CHECK (total >= 0),
    -- The UTC day that spent_today is of.
    day              date NOT NULL DEFAULT '-infinity',
    -- Held or charged. A hold counts in full until it is closed.
    spent_today      numeric(100, 0) NOT NULL DEFAULT 0 CHECK (spent_today >= 0),
    spent_total      numeric(100, 0) NOT NULL DEFAULT 0 CHECK (spent_total >= 0),
    -- Which events were written already: for a day on that day only, for the total once until it is changed.
    day_near_on      date,
    day_reached_on   date,
    is_total_near    boolean NOT NULL DEFAULT false,
    is_total_reached boolean NOT NULL DEFAULT false
);

-- Gateways know which keys have caps. Counting does not touch these columns, so it announces nothing.
CREATE CONSTRAINT TRIGGER announce AFTER INSERT OR UPDATE OF per_call, per_day, total ON key_caps
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_change('api_key', 'key_id');

-- Rounded up, so that a cap is never exceeded by what rounding hides.
CREATE FUNCTION counted_millionths(amount numeric, decimals integer) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT (CASE WHEN decimals <= 6 THEN amount * 10::numeric ^ (6 - decimals)
        ELSE div(amount + 10::numeric ^ (decimals - 6) - 1, 10::numeric ^ (decimals - 6)) END)::numeric(100, 0)
$$;

-- What was counted when the hold was opened, so that closing it gives back exactly that. Null for a key without caps.
ALTER TABLE holds ADD COLUMN key_id uuid, ADD COLUMN counted numeric(100, 0), ADD COLUMN counted_on date;
ALTER TABLE holds ADD CHECK ((key_id IS NULL) = (counted IS NULL) AND (key_id IS NULL) = (counted_on IS NULL))
    NOT VALID;
