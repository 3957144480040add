-- name: lock_organization
-- Whoever registers another webhook at the same time waits for this transaction.
SELECT FROM organizations WHERE id = $1 FOR NO KEY UPDATE

-- name: count
SELECT count(*) FROM webhooks WHERE organization_id = $1 AND deleted_at IS NULL

-- name: insert
INSERT INTO webhooks (id, organization_id, name, url, events, secret_sealed, created_by, project_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: has_project
SELECT EXISTS (SELECT FROM projects WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL)

-- name: list
SELECT id, organization_id, project_id, name, url, events, is_enabled AS enabled, created_by, created_at, disabled_reason,
    disabled_at, failing_since
FROM webhooks WHERE organization_id = $1 AND deleted_at IS NULL
ORDER BY id

-- name: get
SELECT id, organization_id, project_id, name, url, events, is_enabled AS enabled, created_by, created_at, disabled_reason,
    disabled_at, failing_since
FROM webhooks WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL

-- name: change
-- What is null stays as it is. Enabling it again forgets how it failed; disabling it ends what is on its way.
WITH changed AS (
    UPDATE webhooks SET name = coalesce($3, name), url = coalesce($4, url), events = coalesce($5, events),
        is_enabled = coalesce($6, is_enabled),
        disabled_reason = CASE WHEN $6 THEN NULL WHEN is_enabled AND NOT $6 THEN 'asked' ELSE disabled_reason END,
        disabled_at = CASE WHEN $6 THEN NULL WHEN is_enabled AND NOT $6 THEN now() ELSE disabled_at END,
        failing_since = CASE WHEN $6 AND NOT is_enabled THEN NULL ELSE failing_since END
    WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
    RETURNING id
), ended AS (
    UPDATE webhook_deliveries SET state = 'failed', error_message = 'the webhook was disabled'
    WHERE $6 = false AND state = 'waiting' AND webhook_id IN (SELECT id FROM changed)
)
SELECT id FROM changed

-- name: delete
WITH gone AS (
    UPDATE webhooks SET deleted_at = now(), is_enabled = false
    WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
    RETURNING id
), ended AS (
    UPDATE webhook_deliveries SET state = 'failed', error_message = 'the webhook was deleted'
    WHERE state = 'waiting' AND webhook_id IN (SELECT id FROM gone)
)
SELECT id FROM gone

-- name: lock_secrets
SELECT organization_id, secret_sealed, previous_sealed FROM webhooks WHERE id = $1 FOR NO KEY UPDATE

-- name: rotate
UPDATE webhooks SET previous_sealed = secret_sealed, previous_until = now() + $4, secret_sealed = $3
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING id

-- name: reseal
UPDATE webhooks SET secret_sealed = $2, previous_sealed = $3 WHERE id = $1

-- name: sealed_ids
SELECT id FROM webhooks

-- name: deliveries
SELECT webhook_deliveries.*, events.type, events.organization_id, events.payload, events.created_at AS happened_at
FROM webhook_deliveries JOIN events ON events.id = webhook_deliveries.event_id
WHERE webhook_id = $1 AND ($2::text IS NULL OR state = $2)
ORDER BY webhook_deliveries.created_at DESC, webhook_deliveries.id
LIMIT $3 OFFSET $4

-- name: delivery
SELECT webhook_deliveries.*, events.type, events.organization_id, events.payload, events.created_at AS happened_at
FROM webhook_deliveries JOIN events ON events.id = webhook_deliveries.event_id
WHERE webhook_id = $1 AND webhook_deliveries.id = $2

-- name: attempts
SELECT number, started_at, milliseconds, response_status, response_body, error_message
FROM webhook_attempts WHERE delivery_id = $1
ORDER BY number

-- name: replay
-- Beside the delivery it repeats, which stays as it was. Not while the event is on its way: whoever asks a thousand times
-- has the receiver told once.
INSERT INTO webhook_deliveries (webhook_id, event_id)
SELECT webhook_id, event_id FROM webhook_deliveries AS old
WHERE webhook_id = $1 AND id = $2 AND NOT EXISTS (
    SELECT FROM webhook_deliveries AS other
    WHERE other.webhook_id = $1 AND other.event_id = old.event_id AND other.state = 'waiting'
)
RETURNING id

-- name: replay_since
-- In the order in which they happened, a bounded number at once; what is on its way already goes once.
WITH chosen AS (
    SELECT events.id, events.created_at
    FROM events JOIN webhooks ON webhooks.organization_id = events.organization_id
    WHERE webhooks.id = $1 AND events.created_at >= $2 AND webhooks.events && ARRAY[events.type, '*']
        AND (webhooks.project_id IS NULL OR webhooks.project_id = events.project_id)
        AND NOT EXISTS (
            SELECT FROM webhook_deliveries
            WHERE event_id = events.id AND webhook_id = $1 AND state = ANY ($3::text[]))
    ORDER BY events.created_at, events.id LIMIT $4 + 1
), numbered AS (
    SELECT id, created_at, row_number() OVER (ORDER BY created_at, id) AS place FROM chosen
), queued AS (
    INSERT INTO webhook_deliveries (webhook_id, event_id, due_at)
    SELECT $1, id, now() + place * interval '1 microsecond' FROM numbered WHERE place <= $4
    RETURNING id
)
SELECT (SELECT count(*) FROM queued) AS queued, (SELECT count(*) > $4 FROM numbered) AS has_more,
    (SELECT max(created_at) FROM numbered WHERE place <= $4) AS until

-- name: lease
-- Webhooks with something due that nobody delivers to. Organizations take turns, whoever is served least comes first, and
-- none has more than its share in hand, so that there is always a place for the next one, however slow the receivers of
-- others are. Within one the longest unserved is first. Each webhook is looked up once in the index, however much waits.
WITH RECURSIVE waiting (webhook_id) AS (
    (SELECT webhook_id FROM webhook_deliveries WHERE state = 'waiting' ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.webhook_id FROM webhook_deliveries AS next
        WHERE next.state = 'waiting' AND next.webhook_id > waiting.webhook_id ORDER BY next.webhook_id LIMIT 1)
    FROM waiting WHERE waiting.webhook_id IS NOT NULL
), ready AS (
    SELECT webhooks.id, organization_id, leased_until FROM webhooks JOIN waiting ON waiting.webhook_id = webhooks.id
    WHERE is_enabled AND leased_until <= now() AND EXISTS (
        SELECT FROM webhook_deliveries AS due
        WHERE due.webhook_id = webhooks.id AND due.state = 'waiting' AND due.due_at <= now())
), ranked AS (
    SELECT id, leased_until, row_number() OVER (PARTITION BY organization_id ORDER BY leased_until, id) + (
        SELECT count(*) FROM webhooks AS held
        WHERE held.organization_id = ready.organization_id AND held.deleted_at IS NULL AND held.leased_until > now()
    ) AS place
    FROM ready
), chosen AS (
    SELECT webhooks.id FROM webhooks JOIN ranked ON ranked.id = webhooks.id
    WHERE place <= $4 AND is_enabled AND webhooks.leased_until <= now()
    ORDER BY place, ranked.leased_until LIMIT $1
    FOR NO KEY UPDATE OF webhooks SKIP LOCKED
)
UPDATE webhooks SET lease_id = $2, leased_until = now() + $3
FROM chosen WHERE webhooks.id = chosen.id
RETURNING webhooks.id, organization_id, name, url, secret_sealed,
    CASE WHEN previous_until > now() THEN previous_sealed END AS previous_sealed

-- name: due
SELECT webhook_deliveries.id, attempt_count, events.id AS event_id, type, organization_id, events.created_at, payload
FROM webhook_deliveries JOIN events ON events.id = webhook_deliveries.event_id
WHERE webhook_id = $1 AND state = 'waiting' AND due_at <= now()
ORDER BY due_at LIMIT $2

-- name: record
-- A worker that comes back after its lease ran out counts nothing that another one has counted meanwhile. What arrived
-- has arrived, even at a webhook that was disabled in that moment.
WITH recorded AS (
    UPDATE webhook_deliveries SET
        attempt_count = $2,
        state = CASE WHEN $3 THEN 'delivered' WHEN $4::interval IS NULL THEN 'failed' ELSE state END,
        delivered_at = CASE WHEN $3 THEN now() END,
        due_at = now() + coalesce($4, interval '0'),
        response_status = $7, response_body = $8, error_message = $9
    WHERE id = $1 AND attempt_count = $2 - 1 AND state <> 'delivered'
    RETURNING id
)
INSERT INTO webhook_attempts (delivery_id, number, started_at, milliseconds, response_status, response_body,
    error_message)
SELECT id, $2, $5, $6, $7, $8, $9 FROM recorded

-- name: release
-- What a turn of attempts says of the webhook itself; $3 is null when there was no attempt.
UPDATE webhooks SET leased_until = now(), lease_id = NULL,
    failing_since = CASE WHEN $3 THEN NULL WHEN NOT $3 THEN coalesce(failing_since, now()) ELSE failing_since END
WHERE id = $1 AND lease_id = $2

-- name: disable
WITH disabled AS (
    UPDATE webhooks SET is_enabled = false, disabled_reason = $2, disabled_at = now()
    WHERE id = $1 AND is_enabled AND ($2 <> 'failing' OR failing_since < now() - $3::interval)
    RETURNING id, organization_id, name, url
), ended AS (
    UPDATE webhook_deliveries SET state = 'failed', error_message = 'the webhook was disabled'
    WHERE state = 'waiting' AND webhook_id IN (SELECT id FROM disabled)
)
SELECT id, organization_id, name, url FROM disabled

-- name: owners
-- Whom mail reaches: agents gave an address that nobody checked.
SELECT users.name, users.email, organizations.name AS organization
FROM members JOIN users ON users.id = members.user_id JOIN organizations ON organizations.id = members.organization_id
WHERE members.organization_id = $1 AND members.role = 'owner' AND users.email_verified_at IS NOT NULL
    AND users.suspended_at IS NULL

-- name: count_waiting
SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'

-- name: end_strays
-- Queued by a transaction that began while the webhook was enabled and ended when it was not.
UPDATE webhook_deliveries SET state = 'failed', error_message = 'the webhook was disabled'
FROM webhooks WHERE webhooks.id = webhook_id AND NOT is_enabled AND state = 'waiting'

-- name: prune
-- Nobody can be telling it anything any more.
DELETE FROM webhooks WHERE deleted_at < now() - interval '1 day'
