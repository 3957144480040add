-- The x402 extension payment-identifier: a payer's own name for what it pays for, so that a payment it signs anew,
-- because it lost the answer, is not a second one. A payment that cost nothing gives its name back.

ALTER TABLE payments ADD COLUMN identifier text CHECK (identifier ~ '^[A-Za-z0-9_-]{16,128}$');
CREATE UNIQUE INDEX ON payments (payer, identifier) WHERE state IN ('claimed', 'submitted', 'settled');
