-- Plans that are bought at Polar, as Polar says that they stand, and which plan of an organization was bought there.

CREATE TABLE polar_subscriptions (
    -- Polar's own id.
    id                 text PRIMARY KEY,
    organization_id    uuid NOT NULL REFERENCES organizations,
    -- Who opened the page that it was bought on; a subscription that somebody made at Polar has nobody.
    created_by         uuid,
    customer_id        text NOT NULL,
    product_id         text NOT NULL,
    -- The plan that the product is, by its name in the settings.
    tier               text,
    status             text NOT NULL CHECK (status IN
        ('incomplete', 'trialing', 'active', 'past_due', 'paused', 'canceled')),
    current_period_end timestamptz NOT NULL,
    canceled_at        timestamptz,
    -- By Polar's clock: what is older than this is not news.
    modified_at        timestamptz NOT NULL,
    -- When Polar was asked last.
    looked_at          timestamptz NOT NULL DEFAULT now(),
    created_at         timestamptz NOT NULL DEFAULT now(),
    CHECK (tier IS NOT NULL OR status NOT IN ('trialing', 'active'))
);
CREATE INDEX ON polar_subscriptions (organization_id);
CREATE INDEX ON polar_subscriptions (customer_id);
CREATE INDEX ON polar_subscriptions (looked_at) WHERE status <> 'canceled';

-- Paid at Polar, so that no invoice of ours asks for it again; null: paid with our invoice of the month.
ALTER TABLE organization_plans ADD COLUMN subscription_id text REFERENCES polar_subscriptions;
