-- What each publisher's calls and charges earned, net, added up behind usage: of millions of calls nobody waits for a sum.

CREATE TABLE earned_totals (
    publisher_id uuid NOT NULL REFERENCES publishers,
    asset_id     uuid NOT NULL REFERENCES assets,
    calls        bigint NOT NULL CHECK (calls >= 0),
    earned       numeric(78, 0) NOT NULL,
    -- Of that, what callers paid to the publisher's own wallet.
    direct       numeric(78, 0) NOT NULL,
    PRIMARY KEY (publisher_id, asset_id)
);
-- With a mark of its own: usage that was added up before this table was there is not in it.
INSERT INTO rollup_marks (name) VALUES ('earnings');
