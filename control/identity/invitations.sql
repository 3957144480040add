-- name: invite
INSERT INTO invites (id, organization_id, project_id, email, role, role_id, token_hash, invited_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9::interval)
ON CONFLICT (organization_id, project_id, email) WHERE accepted_at IS NULL AND revoked_at IS NULL
DO UPDATE SET role = excluded.role, role_id = excluded.role_id, token_hash = excluded.token_hash,
    invited_by = excluded.invited_by, expires_at = excluded.expires_at
RETURNING id, organization_id, project_id, email, role, role_id, invited_by, expires_at, created_at, accepted_at,
    revoked_at

-- name: revoke
UPDATE invites SET revoked_at = now()
WHERE organization_id = $1 AND project_id IS NOT DISTINCT FROM $2 AND id = $3
    AND accepted_at IS NULL AND revoked_at IS NULL
RETURNING id

-- name: revoke_of_inviter
UPDATE invites SET revoked_at = now()
WHERE organization_id = $1 AND invited_by = $2 AND accepted_at IS NULL AND revoked_at IS NULL

-- name: take
-- Decides and acts: of two who use a link at once, one finds it used.
UPDATE invites SET accepted_at = now()
FROM organizations, users
WHERE token_hash = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > now()
    AND (project_id IS NOT NULL) = $3
    AND organizations.id = invites.organization_id AND organizations.deleted_at IS NULL
    AND organizations.suspended_at IS NULL
    AND (project_id IS NULL OR EXISTS (
        SELECT FROM projects WHERE projects.id = invites.project_id AND projects.deleted_at IS NULL
    ))
    AND users.id = $2 AND lower(users.email) = invites.email
RETURNING invites.id, invites.organization_id, organizations.name AS organization_name, project_id, invites.role,
    role_id

-- name: is_known
SELECT EXISTS (SELECT FROM invites WHERE token_hash = $1)

-- name: join
WITH joined AS (
    INSERT INTO members (organization_id, user_id, role, role_id) VALUES ($1, $2, $3, $4)
    ON CONFLICT (organization_id, user_id) DO NOTHING
    RETURNING role, role_id
), standing AS (
    SELECT role, role_id, true AS is_new FROM joined
    UNION ALL
    SELECT role, role_id, false FROM members WHERE organization_id = $1 AND user_id = $2
)
SELECT coalesce(standing.role, roles.name) AS role, role_id, coalesce(roles.permissions, '{}') AS permissions, is_new
FROM standing LEFT JOIN roles ON roles.id = role_id
LIMIT 1

-- name: join_project
WITH joined AS (
    INSERT INTO project_members (project_id, user_id, role) VALUES ($1, $2, $3)
    ON CONFLICT (project_id, user_id) DO NOTHING
    RETURNING role
)
SELECT role, NULL::uuid AS role_id, '{}'::text[] AS permissions, true AS is_new FROM joined
UNION ALL
SELECT role, NULL, '{}', false FROM project_members WHERE project_id = $1 AND user_id = $2
LIMIT 1
