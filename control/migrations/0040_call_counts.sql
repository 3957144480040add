-- Calls of a month (UTC) that were served, for publishers whose price depends on how many there were.

CREATE TABLE call_counts (
    publisher_id    uuid NOT NULL REFERENCES publishers,
    organization_id uuid NOT NULL REFERENCES organizations,
    month           date NOT NULL,
    calls           bigint NOT NULL CHECK (calls > 0),
    PRIMARY KEY (publisher_id, organization_id, month)
);
