-- When a key was last used, as far as anybody looks. Apart from the keys: writing it must neither wait for a key's row
-- nor make gateways read their keys again.

CREATE TABLE key_uses (
    key_id  uuid PRIMARY KEY REFERENCES api_keys,
    used_at timestamptz NOT NULL
);
