-- A payment may be settled by another transaction than the one we signed first: a replacement with a higher fee, or
-- a remote facilitator's, which is known only from its answer.

ALTER TABLE payments
    -- The transaction that settled it; before that, the one that a remote facilitator named.
    ADD COLUMN known_hash bytea CHECK (octet_length(known_hash) = 32),
    -- When somebody last began to ask for its outcome, so that askers take turns and no payment is starved.
    ADD COLUMN asked_at timestamptz,
    -- Contract wallets sign in whatever form they like, up to a length.
    DROP CONSTRAINT payments_signature_check,
    ADD CONSTRAINT payments_signature_check CHECK (octet_length(signature) BETWEEN 1 AND 4096);

ALTER TABLE chain_transactions
    -- The same account nonce signed again with a higher fee; each transaction is replaced at most once.
    ADD COLUMN replaces bytea UNIQUE REFERENCES chain_transactions (hash),
    DROP CONSTRAINT chain_transactions_network_signer_nonce_key;
-- Two payments never share an account nonce, whatever is replaced.
CREATE UNIQUE INDEX ON chain_transactions (network, signer, nonce) WHERE replaces IS NULL;
CREATE INDEX ON chain_transactions (network, signer, nonce);
