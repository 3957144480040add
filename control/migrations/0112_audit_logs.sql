-- What was changed, by whom and from where. Nothing refers to other tables: what a row tells outlives what it is about.

CREATE TABLE audit_logs (
    id              uuid PRIMARY KEY,
    -- Null where nobody was known yet, when somebody signs up or fails to.
    organization_id uuid,
    actor_id        uuid,
    actor_type      text NOT NULL,
    action          text NOT NULL,
    action_category text NOT NULL,
    resource_type   text NOT NULL,
    resource_id     uuid,
    status          text NOT NULL CHECK (status IN ('success', 'denied', 'failure')),
    error_message   text,
    ip_address      text,
    user_agent      text,
    request_id      text,
    metadata        jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON audit_logs (organization_id, id);
CREATE INDEX ON audit_logs (created_at);

-- A row is written once and stays as it is, whoever asks, the table's owner and superusers included. After a year it
-- may be deleted; that is for the operator to do, no part of the product does.
CREATE FUNCTION keep_audit_logs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- Not the writer's to choose: a row dated back could be deleted at once.
        NEW.created_at := now();
        RETURN NEW;
    ELSIF TG_OP = 'DELETE' AND OLD.created_at < now() - interval '1 year' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_logs is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER keep BEFORE INSERT OR UPDATE OR DELETE ON audit_logs
    FOR EACH ROW EXECUTE FUNCTION keep_audit_logs();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit_logs FOR EACH STATEMENT EXECUTE FUNCTION keep_audit_logs();
-- Also in a session that replays somebody else's changes, where ordinary triggers rest.
ALTER TABLE audit_logs ENABLE ALWAYS TRIGGER keep, ENABLE ALWAYS TRIGGER keep_all;
