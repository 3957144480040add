-- name: lock
SELECT id FROM accounts WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: draw
-- Asked once the accounts are locked, so what is left is what grants say. As for calls: of several the one that expires
-- first, and none for a publisher of the payer's own organization, or of another one that the same person made.
WITH live AS (
    SELECT id, expires_at, amount - held - spent - expired AS remaining FROM grants
    WHERE account_id = $1 AND closed_at IS NULL AND expires_at > now() AND amount > held + spent + expired
        AND (SELECT created_by FROM organizations WHERE id = $4) <> (SELECT created_by FROM organizations WHERE id = $5)
    ORDER BY expires_at, id FOR NO KEY UPDATE OF grants
), parts AS (
    SELECT id, least(remaining, greatest(0, $2::numeric + remaining - sum(remaining) OVER (ORDER BY expires_at, id)))
        AS part
    FROM live
), noted AS (
    INSERT INTO charge_grants (cause_id, grant_id, amount) SELECT $3, id, part FROM parts WHERE part > 0
), spent AS (
    UPDATE grants SET spent = spent + part, closed_at = CASE WHEN spent + part + expired = amount THEN now() END
    FROM parts WHERE grants.id = parts.id AND part > 0
)
SELECT coalesce(sum(part), 0) FROM parts

-- name: give_back
-- Asked once the accounts are locked. Of each grant, as much as the charge spent of it and no refund has given back.
WITH used AS (
    SELECT grant_id, sum(amount) AS rest FROM charge_grants
    WHERE cause_id = $1
        OR cause_id IN (SELECT id FROM charge_changes WHERE charge_id = $1 AND charge_changes.kind = 'refund')
    GROUP BY grant_id
), parts AS (
    SELECT grant_id, least(rest, greatest(0, $3::numeric + rest - sum(rest) OVER (ORDER BY expires_at DESC, grants.id DESC)))
        AS part
    FROM used JOIN grants ON grants.id = grant_id
), noted AS (
    INSERT INTO charge_grants (cause_id, grant_id, amount) SELECT $2, grant_id, -part FROM parts WHERE part > 0
), given AS (
    UPDATE grants SET spent = spent - part, closed_at = NULL
    FROM parts WHERE grants.id = parts.grant_id AND part > 0
)
SELECT coalesce(sum(part), 0) FROM parts
