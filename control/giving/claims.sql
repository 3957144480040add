-- name: claimant
SELECT organizations.created_by AS person_id, users.kind = 'agent' AS is_agent,
    users.kind = 'person' AND users.email_verified_at IS NOT NULL AS is_verified
FROM organizations JOIN users ON users.id = organizations.created_by
WHERE organizations.id = $1

-- name: deposited
SELECT deposited_millionths($1, $2)

-- name: is_given
SELECT EXISTS (SELECT FROM grants WHERE cause_id = $1)

-- name: count_address
-- Who is refused afterwards is not counted: it is the same transaction.
INSERT INTO claim_addresses AS known (unit, day, claims) VALUES ($1, (now() AT TIME ZONE 'UTC')::date, 1)
ON CONFLICT (unit, day) DO UPDATE SET claims = known.claims + 1 WHERE known.claims < $2
RETURNING claims

-- name: prune
DELETE FROM claim_addresses WHERE day < (now() AT TIME ZONE 'UTC')::date - 1

-- name: balances
SELECT sum(posted - held) AS available, decimals
FROM accounts JOIN assets ON assets.id = accounts.asset_id
WHERE owner_id = $1 AND accounts.mode = $2 AND kind IN ('funded', 'promotional')
GROUP BY assets.id

-- name: today
SELECT (now() AT TIME ZONE 'UTC')::date

-- name: claims_of_month
SELECT count(*) FROM organizations JOIN grants ON grants.organization_id = organizations.id
    JOIN assets ON assets.id = grants.asset_id
WHERE organizations.created_by = $1 AND assets.mode = $2 AND reason = 'daily'
    AND grants.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'

-- name: cards
SELECT cards_of($1, $2)

-- name: take_card
INSERT INTO bonus_cards (fingerprint, mode)
SELECT fingerprint, $2 FROM unnest($1::text[]) WITH ORDINALITY AS asked (fingerprint, place)
WHERE NOT EXISTS (SELECT FROM bonus_cards AS known WHERE known.fingerprint = asked.fingerprint AND mode = $2)
ORDER BY place LIMIT 1
ON CONFLICT (fingerprint, mode) DO NOTHING
RETURNING fingerprint
