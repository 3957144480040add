-- An event may be of one project, and a webhook may want those of one project only.

ALTER TABLE events ADD COLUMN project_id uuid;
ALTER TABLE webhooks ADD COLUMN project_id uuid REFERENCES projects;

CREATE OR REPLACE FUNCTION queue_webhook_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_deliveries (webhook_id, event_id)
    SELECT id, NEW.id FROM webhooks
    WHERE organization_id = NEW.organization_id AND deleted_at IS NULL AND is_enabled
        AND events && ARRAY[NEW.type, '*']
        AND (project_id IS NULL OR project_id = NEW.project_id);
    RETURN NULL;
END
$$;
