-- One transaction of the chain may settle many payments: it is stored under the id of one of them, which all of them
-- name. A payment that has a transaction of its own names none.
ALTER TABLE payments ADD COLUMN carrier_id uuid;
ALTER TABLE chain_transactions ADD COLUMN is_shared boolean NOT NULL DEFAULT false;
