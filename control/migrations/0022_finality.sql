-- A chain may take back what it had: settled payments are looked at again until they are too deep for that.

ALTER TABLE payments
    -- When nobody had to look any more: its transaction is final, or it is lost.
    ADD COLUMN final_at timestamptz,
    -- Booked, and the chain has taken it back for good: somebody has to decide what becomes of the money.
    ADD COLUMN lost_at timestamptz;
UPDATE payments SET final_at = closed_at WHERE state = 'settled';
CREATE INDEX ON payments (coalesce(asked_at, created_at)) WHERE state = 'settled' AND final_at IS NULL;
