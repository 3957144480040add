-- What gateways must hear of. They listen, and poll by version because poolers swallow NOTIFY.

CREATE TABLE change_version (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version bigint NOT NULL
);
INSERT INTO change_version (version) VALUES (0);

CREATE TABLE changes (
    version    bigint PRIMARY KEY,
    topic      text NOT NULL CHECK (topic IN ('publisher', 'api_key')),
    id         uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed uuid := (to_jsonb(coalesce(NEW, OLD)) ->> TG_ARGV[1])::uuid;
    next bigint;
BEGIN
    -- The row lock is held until commit, so versions become visible in order and a poller never misses one.
    UPDATE change_version SET version = version + 1 RETURNING version INTO next;
    INSERT INTO changes (version, topic, id) VALUES (next, TG_ARGV[0], changed);
    PERFORM pg_notify('farebox_changes', next::text);
    RETURN NULL;
END $$;

-- Deferred to commit: the lock is taken last, when the transaction waits for nothing else.
CREATE CONSTRAINT TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON publishers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_change('publisher', 'id');
CREATE CONSTRAINT TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON publisher_prices
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_change('publisher', 'publisher_id');
CREATE CONSTRAINT TRIGGER announce AFTER UPDATE OR DELETE ON api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_change('api_key', 'id');
