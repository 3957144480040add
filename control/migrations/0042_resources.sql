-- What callers created at publishers that keep their callers' resources apart.

CREATE TABLE resources (
    publisher_id    uuid NOT NULL REFERENCES publishers,
    resource_id     text NOT NULL CHECK (length(resource_id) BETWEEN 1 AND 512),
    organization_id uuid NOT NULL REFERENCES organizations,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (publisher_id, resource_id)
);
