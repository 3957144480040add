-- Rows of publications, as they were last seen, and what makes them inside.

-- name: index
SELECT id, name, database, tables, publish_insert, publish_update, publish_delete, publish_truncate, created_at,
    updated_at
FROM publications WHERE branch_id = $1 ORDER BY created_at, database, name

-- name: find
SELECT id, name, database, tables, publish_insert, publish_update, publish_delete, publish_truncate, created_at,
    updated_at
FROM publications WHERE branch_id = $1 AND id = $2

-- name: put
INSERT INTO publications (id, branch_id, database, name, tables, publish_insert, publish_update, publish_delete,
    publish_truncate)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (branch_id, database, name) DO UPDATE
SET tables = excluded.tables, publish_insert = excluded.publish_insert, publish_update = excluded.publish_update,
    publish_delete = excluded.publish_delete, publish_truncate = excluded.publish_truncate, updated_at = now()
WHERE (publications.tables, publications.publish_insert, publications.publish_update,
        publications.publish_delete, publications.publish_truncate)
    IS DISTINCT FROM (excluded.tables, excluded.publish_insert, excluded.publish_update,
        excluded.publish_delete, excluded.publish_truncate)

-- name: delete
DELETE FROM publications WHERE id = $1

-- name: forget
-- Publications that a database does not have any more.
DELETE FROM publications WHERE branch_id = $1 AND database = $2 AND NOT name = ANY ($3::text[])

-- name: forget_databases
-- And those of databases that are gone themselves.
DELETE FROM publications WHERE branch_id = $1 AND NOT database = ANY ($2::text[])

-- name: observed
-- Inside.
SELECT pubname AS name,
    CASE WHEN puballtables THEN '{}' ELSE ARRAY(
        SELECT pg_catalog.format('%I.%I', schemaname, tablename) FROM pg_catalog.pg_publication_tables AS theirs
        WHERE theirs.pubname = publication.pubname ORDER BY 1
    ) END AS tables,
    pubinsert AS publish_insert, pubupdate AS publish_update, pubdelete AS publish_delete,
    pubtruncate AS publish_truncate
FROM pg_catalog.pg_publication AS publication ORDER BY pubname LIMIT 1000

-- name: resolve
-- Inside. A table's name with the quotes it needs, out of what somebody wrote; null if there is none.
SELECT (
    SELECT pg_catalog.format('%I.%I', nspname, relname)
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = CASE cardinality(parts) WHEN 1 THEN 'public' ELSE parts[1] END
        AND relname = parts[cardinality(parts)] AND cardinality(parts) < 3 AND relkind IN ('r', 'p')
        AND NOT nspname ~ '^pg_' AND nspname <> 'information_schema'
)
FROM (SELECT pg_catalog.parse_ident($1::text) AS parts) AS written

-- name: write_create
-- Inside. `$2` is a list of quoted tables, or null for all; `$3` is of words.
SELECT pg_catalog.format('CREATE PUBLICATION %I FOR %s WITH (publish = %L)', $1::text,
    coalesce('TABLE ' || $2::text, 'ALL TABLES'), $3::text)

-- name: write_owner
-- Inside. One of all tables stays the superuser's, as Postgres demands.
SELECT pg_catalog.format('ALTER PUBLICATION %I OWNER TO %I', $1::text, pg_catalog.pg_get_userbyid(datdba))
FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()

-- name: write_change
SELECT pg_catalog.format('ALTER PUBLICATION %I SET (publish = %L)', $1::text, $2::text)

-- name: write_drop
SELECT pg_catalog.format('DROP PUBLICATION IF EXISTS %I', $1::text)
