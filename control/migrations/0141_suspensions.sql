-- The operator suspends people, and an organization together with what it sells.

ALTER TABLE users ADD COLUMN suspended_at timestamptz;
CREATE CONSTRAINT TRIGGER announce AFTER UPDATE OF suspended_at ON users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_change('api_key', 'id');

-- Gateways read a publisher again when its organization is suspended, or acts again. The publishers' own rows stay as they
-- are, so that one that was suspended by itself stays so.
CREATE FUNCTION announce_publishers() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one uuid;
    next bigint;
BEGIN
    FOR one IN SELECT id FROM publishers WHERE organization_id = NEW.id AND deleted_at IS NULL ORDER BY id LOOP
        -- As announce_change does it.
        UPDATE change_version SET version = version + 1 RETURNING version INTO next;
        INSERT INTO changes (version, topic, id) VALUES (next, 'publisher', one);
        PERFORM pg_notify('farebox_changes', next::text);
    END LOOP;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER announce_publishers AFTER UPDATE OF suspended_at ON organizations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_publishers();
