-- What a gateway has taken out of a balance ahead of the calls that will spend it. It is held on the account, as a hold
-- is; a call that is paid from it writes nothing before it is charged.

CREATE TABLE purses (
    id         uuid PRIMARY KEY,
    owner_id   uuid NOT NULL REFERENCES organizations,
    payer_id   uuid NOT NULL,
    asset_id   uuid NOT NULL,
    -- What is left in it: a charge takes from here and from the account in one statement.
    amount     numeric(78, 0) NOT NULL CHECK (amount >= 0),
    -- By then no call is running that could still be charged to it.
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (payer_id, asset_id) REFERENCES accounts (id, asset_id)
);
CREATE INDEX ON purses (expires_at);
CREATE INDEX ON purses (owner_id);
-- Every batch of charges writes the row anew.
ALTER TABLE purses SET (fillfactor = 50);

CREATE TRIGGER stay BEFORE UPDATE OF id, owner_id, payer_id, asset_id ON purses
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
