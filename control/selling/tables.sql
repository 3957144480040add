-- name: readable
-- Of a publisher's database: what its role may read, written as in a statement. One column more than are shown.
SELECT CASE WHEN pg_catalog.pg_table_is_visible(tables.oid) THEN '' ELSE pg_catalog.quote_ident(nspname) || '.' END
        || pg_catalog.quote_ident(relname) AS "table",
    pg_catalog.left(pg_catalog.obj_description(tables.oid, 'pg_class'), 500) AS table_description,
    pg_catalog.quote_ident(attname) AS "column",
    pg_catalog.format_type(atttypid, atttypmod) AS type,
    pg_catalog.left(pg_catalog.col_description(tables.oid, attnum), 500) AS column_description
FROM pg_catalog.pg_class AS tables
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_catalog.pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT relispartition
    AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
    AND pg_catalog.has_schema_privilege(pg_namespace.oid, 'USAGE')
    AND pg_catalog.has_column_privilege(tables.oid, attnum, 'SELECT')
ORDER BY nspname, relname, attnum
LIMIT 301

-- name: absent
-- Of a branch: what is named in $1, a list, and is no table that the role may read.
SELECT named AS name FROM pg_catalog.json_array_elements_text($1::text::json) WITH ORDINALITY AS listed (named, position)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_class
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname || '.' || relname = named AND relkind IN ('r', 'p', 'v', 'm', 'f')
        AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
        AND pg_catalog.has_schema_privilege(pg_namespace.oid, 'USAGE')
        AND pg_catalog.has_table_privilege(pg_class.oid, 'SELECT'))
ORDER BY position
