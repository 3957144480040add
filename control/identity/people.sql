-- name: create
WITH someone AS (
    INSERT INTO users (id, kind, name, email) VALUES ($1, $2, $3, $4)
    RETURNING id, name, created_at
), home AS (
    INSERT INTO organizations (id, name, slug, created_by, is_personal)
    SELECT $5, someone.name, $6, someone.id, true FROM someone
    RETURNING id
), membership AS (
    INSERT INTO members (organization_id, user_id, role)
    SELECT home.id, someone.id, 'owner' FROM home, someone
)
SELECT created_at FROM someone
