-- A slip was as old as its first call, so that the sweeper took that of a long call from under the process that had just
-- written it, and nobody was told that the payer's balance was low. It is as old as its row.
ALTER TABLE slips ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
