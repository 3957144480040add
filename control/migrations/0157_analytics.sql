-- What publishers look at, added up by the day beside usage_days and with it. Days are UTC.

-- Who called: an organization, or a wallet that is nobody's here.
CREATE TABLE agent_days (
    publisher_id    uuid NOT NULL REFERENCES publishers,
    day             date NOT NULL,
    organization_id uuid REFERENCES organizations,
    payer           text,
    asset_id        uuid REFERENCES assets,
    calls           bigint NOT NULL CHECK (calls > 0),
    cost            numeric(78, 0) NOT NULL CHECK (cost >= 0),
    last_at         timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (publisher_id, day, organization_id, payer, asset_id)
);

-- What was called. A route is a path without the ids in it, and a day has so many of them at most: callers choose paths.
CREATE TABLE route_days (
    publisher_id uuid NOT NULL REFERENCES publishers,
    day          date NOT NULL,
    method       text NOT NULL,
    route        text NOT NULL,
    asset_id     uuid REFERENCES assets,
    calls        bigint NOT NULL CHECK (calls > 0),
    charged      bigint NOT NULL CHECK (charged BETWEEN 0 AND calls),
    failed       bigint NOT NULL CHECK (failed BETWEEN 0 AND calls),
    cost         numeric(78, 0) NOT NULL CHECK (cost >= 0),
    UNIQUE NULLS NOT DISTINCT (publisher_id, day, method, route, asset_id)
);

-- How often a caller was told the price instead of an answer.
CREATE TABLE offer_days (
    publisher_id uuid NOT NULL REFERENCES publishers,
    day          date NOT NULL,
    offers       bigint NOT NULL CHECK (offers > 0),
    PRIMARY KEY (publisher_id, day)
);

-- Numbers, UUIDs, hexadecimal and long words stand for one thing among many.
CREATE FUNCTION route_of(path text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(regexp_replace(path,
        '/(?:[0-9]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|0x[0-9a-fA-F]+|[0-9A-Za-z_-]{24,})(?=/|$)', '/{id}', 'g'), 200)
$$;
