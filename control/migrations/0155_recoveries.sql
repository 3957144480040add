-- How somebody who lost the API key gets at the account again: a code that was shown once.

CREATE TABLE recoveries (
    user_id         uuid PRIMARY KEY REFERENCES users,
    organization_id uuid NOT NULL REFERENCES organizations,
    -- Whose money the key spends that the code gives.
    mode            text NOT NULL CHECK (mode IN ('live', 'test')),
    fingerprint     bytea NOT NULL UNIQUE CHECK (octet_length(fingerprint) = 32),
    email           text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    recovered_at    timestamptz,
    -- The code before, and the key that it gave: whoever lost that answer has nothing but the old code.
    previous        bytea UNIQUE CHECK (octet_length(previous) = 32),
    key_id          uuid REFERENCES api_keys
);
