-- A transaction that many payments share is longer than a row likes to be, and would be compressed: that was a fifth of
-- what it costs to submit a payment. Signatures do not shrink, and what is between them is read hardly ever.
ALTER TABLE chain_transactions ALTER COLUMN raw SET STORAGE EXTERNAL;
