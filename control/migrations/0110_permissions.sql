-- Roles that organizations make themselves, and what the operator can stop.

CREATE TABLE roles (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    description     text,
    permissions     text[] NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    -- What a member has is of the member's own organization.
    UNIQUE (organization_id, id)
);
CREATE UNIQUE INDEX ON roles (organization_id, lower(name));

-- A member has a built-in role by its name, or a custom one. A release that does not know custom roles sees none at
-- all, and grants nothing.
ALTER TABLE members
    ALTER COLUMN role DROP NOT NULL,
    ADD COLUMN role_id uuid,
    ADD FOREIGN KEY (organization_id, role_id) REFERENCES roles (organization_id, id),
    ADD CHECK ((role IS NULL) <> (role_id IS NULL));
CREATE INDEX ON members (role_id) WHERE role_id IS NOT NULL;

ALTER TABLE organizations ADD COLUMN suspended_at timestamptz;
ALTER TABLE publishers ADD COLUMN suspended_at timestamptz;

-- A key spends only as long as its user may: gateways ask again when that may have changed.
CREATE CONSTRAINT TRIGGER announce AFTER UPDATE OR DELETE ON members
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_change('api_key', 'user_id');
CREATE CONSTRAINT TRIGGER announce AFTER UPDATE OF permissions ON roles
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_change('api_key', 'id');
CREATE CONSTRAINT TRIGGER announce AFTER UPDATE OF deleted_at, suspended_at ON organizations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION announce_change('api_key', 'id');
