-- name: find_role
-- Membership is asked for, not remembered: whoever leaves an organization leaves their keys powerless.
SELECT members.role
FROM members
JOIN organizations ON organizations.id = members.organization_id
WHERE members.organization_id = $1 AND members.user_id = $2 AND organizations.deleted_at IS NULL
