-- name: code
SELECT code FROM referral_codes WHERE organization_id = $1

-- name: make_code
INSERT INTO referral_codes (organization_id, code) VALUES ($1, $2) ON CONFLICT DO NOTHING

-- name: owner
-- Of an organization that can still be rewarded, and whether it is the asker's own: their other one, or one that shares a
-- member with theirs.
SELECT referrer.id, referrer.id = own.id OR referrer.created_by = own.created_by OR EXISTS (
    SELECT FROM members AS theirs JOIN members AS mine ON mine.user_id = theirs.user_id
    WHERE theirs.organization_id = referrer.id AND mine.organization_id = own.id
) AS is_own
FROM referral_codes JOIN organizations AS referrer ON referrer.id = referral_codes.organization_id,
    organizations AS own
WHERE code = $1 AND own.id = $2 AND referrer.deleted_at IS NULL AND referrer.suspended_at IS NULL

-- name: is_referred
SELECT EXISTS (SELECT FROM referrals WHERE person_id = $1 AND mode = $2)

-- name: insert
INSERT INTO referrals (id, person_id, organization_id, mode, referrer_id) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (person_id, mode) DO NOTHING
RETURNING id

-- name: sums
SELECT count(*) AS referrals, coalesce(sum(earned), 0) AS earned,
    count(*) FILTER (WHERE rewarded_at IS NULL) AS pending
FROM referrals WHERE referrer_id = $1 AND mode = $2

-- name: look
-- Those that nobody has looked at for longest; another replica takes the next ones.
UPDATE referrals SET checked_at = now() WHERE id IN (
    SELECT id FROM referrals WHERE rewarded_at IS NULL ORDER BY checked_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
RETURNING id, organization_id, referrer_id, mode

-- name: take
SELECT EXISTS (
    SELECT FROM organizations WHERE id = referrer_id AND deleted_at IS NULL AND suspended_at IS NULL
) AS is_there
FROM referrals WHERE id = $1 AND rewarded_at IS NULL FOR UPDATE OF referrals

-- name: rewarded
UPDATE referrals SET rewarded_at = now(), earned = $2 WHERE id = $1
