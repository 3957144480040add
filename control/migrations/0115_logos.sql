-- Logos that publishers uploaded. Others have theirs elsewhere, by its URL.

CREATE TABLE publisher_logos (
    publisher_id uuid PRIMARY KEY REFERENCES publishers,
    content_type text NOT NULL CHECK (content_type IN ('image/png', 'image/jpeg', 'image/webp', 'image/svg+xml')),
    content      bytea NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 524288),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
-- They are compressed already.
ALTER TABLE publisher_logos ALTER COLUMN content SET STORAGE EXTERNAL;
