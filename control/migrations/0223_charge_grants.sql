-- Promotional money pays for charges and penalties too, before funded money does: what each drew from which grant, and what
-- a refund gave back to it.
CREATE TABLE charge_grants (
    -- Of the charge, the penalty or the refund: what its transfer is for.
    cause_id uuid NOT NULL,
    grant_id uuid NOT NULL REFERENCES grants,
    -- Below zero for what was given back.
    amount   numeric(78, 0) NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (cause_id, grant_id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON charge_grants
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
