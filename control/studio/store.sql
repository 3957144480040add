-- part: columns
-- `dataType` is information_schema's; a generated column's expression is no default.
(
    SELECT coalesce(json_agg(json_build_object(
        'name', att.attname,
        'dataType', CASE
            WHEN typ.typcategory = 'A' THEN 'ARRAY'
            WHEN typ.typtype = 'd' THEN format_type(typ.typbasetype, NULL)
            WHEN typ.typnamespace = 'pg_catalog'::regnamespace THEN format_type(typ.oid, NULL)
            ELSE 'USER-DEFINED' END,
        'type', format_type(att.atttypid, att.atttypmod),
        'isArray', typ.typcategory = 'A',
        'nullable', NOT att.attnotnull,
        'defaultExpr', CASE WHEN att.attgenerated = '' THEN left(pg_get_expr(def.adbin, def.adrelid), 2000) END,
        'ordinalPosition', att.attnum,
        'isPrimaryKey', coalesce(att.attnum = ANY (pk.conkey), false),
        'isGenerated', att.attgenerated <> '',
        'isIdentity', att.attidentity <> '',
        'references', (
            SELECT json_build_object('table', target.relname, 'column', there.attname,
                'onDelete', CASE fk.confdeltype WHEN 'c' THEN 'cascade' WHEN 'r' THEN 'restrict' WHEN 'n' THEN 'setNull'
                    ELSE 'noAction' END)
            FROM pg_constraint AS fk
            JOIN pg_class AS target ON target.oid = fk.confrelid
            JOIN pg_attribute AS there ON there.attrelid = fk.confrelid
                AND there.attnum = fk.confkey[array_position(fk.conkey, att.attnum)]
            WHERE fk.conrelid = rel.oid AND fk.contype = 'f' AND att.attnum = ANY (fk.conkey)
            ORDER BY cardinality(fk.conkey), fk.conname LIMIT 1)
    ) ORDER BY att.attnum), '[]'::json)
    FROM pg_attribute AS att
    JOIN pg_type AS typ ON typ.oid = att.atttypid
    LEFT JOIN pg_attrdef AS def ON def.adrelid = att.attrelid AND def.adnum = att.attnum
    LEFT JOIN pg_constraint AS pk ON pk.conrelid = rel.oid AND pk.contype = 'p'
    WHERE att.attrelid = rel.oid AND att.attnum > 0 AND NOT att.attisdropped
)

-- part: visible
pg_class AS rel JOIN pg_namespace AS space ON space.oid = rel.relnamespace
WHERE space.nspname = 'public' AND rel.relname !~ '^_(farebox|briven)_'

-- part: defined
format('%I ', one.name) || one.type || CASE WHEN one.not_null THEN ' NOT NULL' ELSE '' END
    || CASE WHEN one.primary_key THEN ' PRIMARY KEY' ELSE '' END || coalesce(' DEFAULT (' || one.default_expr || ')', '')
    || CASE WHEN one.to_table IS NULL THEN ''
        ELSE format(' REFERENCES public.%I (%I) ON DELETE ', one.to_table, one.to_column) || one.on_delete END

-- part: fields
(name text, type text, not_null boolean, primary_key boolean, default_expr text, to_table text, to_column text,
    on_delete text)

-- part: keyed
string_agg(format('%I = $%s', keyed.name, keyed.number + $2), ' AND ')

-- name: default_branch
SELECT id, state FROM branches WHERE project_id = $1 AND is_default AND deleted_at IS NULL

-- name: tables
-- In their estimates partitioned tables are what their partitions are.
SELECT json_build_object('name', rel.relname,
    'approxRowCount', (SELECT coalesce(sum(CASE WHEN leaf.reltuples >= 0 THEN leaf.reltuples
        ELSE pg_stat_get_live_tuples(leaf.oid) END), 0)::bigint FROM pg_class AS leaf WHERE leaf.oid = ANY (parts.oids)),
    'bytes', (SELECT coalesce(sum(pg_total_relation_size(part)), 0)::bigint FROM unnest(parts.oids) AS part))
FROM (SELECT rel.* FROM {visible} AND rel.relkind IN ('r', 'p')) AS rel
CROSS JOIN LATERAL (
    SELECT CASE rel.relkind WHEN 'r' THEN ARRAY[rel.oid]
        ELSE ARRAY(SELECT tree.relid::oid FROM pg_partition_tree(rel.oid) AS tree WHERE tree.isleaf) END AS oids
) AS parts
ORDER BY rel.relname

-- name: relation
SELECT json_build_object('name', rel.relname, 'kind', rel.relkind, 'columns', {columns})
FROM {visible} AND rel.relname::text = $1::text AND rel.relkind IN ('r', 'p', 'v', 'm', 'f')

-- name: relations
SELECT json_build_object('name', rel.relname, 'columns', {columns})
FROM {visible} AND rel.relkind IN ('r', 'p')
ORDER BY rel.relname

-- name: edges
SELECT json_build_object('fromTable', rel.relname, 'fromColumn', here.attname, 'toTable', target.relname,
    'toColumn', there.attname)
FROM (SELECT rel.oid, rel.relname FROM {visible}) AS rel
JOIN pg_constraint AS fk ON fk.conrelid = rel.oid AND fk.contype = 'f' AND fk.conparentid = 0
JOIN pg_class AS target ON target.oid = fk.confrelid
CROSS JOIN unnest(fk.conkey, fk.confkey) AS pair (from_number, to_number)
JOIN pg_attribute AS here ON here.attrelid = rel.oid AND here.attnum = pair.from_number
JOIN pg_attribute AS there ON there.attrelid = target.oid AND there.attnum = pair.to_number
ORDER BY rel.relname, fk.conname, here.attnum

-- name: indexes
SELECT json_build_object('table', rel.relname, 'name', own.relname, 'unique', ind.indisunique, 'isPrimary', ind.indisprimary,
    'isPlain', ind.indpred IS NULL AND 0 <> ALL (ind.indkey), 'columns', (
        SELECT json_agg(coalesce(att.attname::text, pg_get_indexdef(own.oid, place, true)) ORDER BY place)
        FROM generate_series(1, ind.indnkeyatts) AS place
        LEFT JOIN pg_attribute AS att ON att.attrelid = ind.indrelid AND att.attnum = ind.indkey[place - 1]
            AND ind.indkey[place - 1] <> 0))
FROM (SELECT rel.oid, rel.relname FROM {visible} AND ($1::text IS NULL OR rel.relname::text = $1::text)) AS rel
JOIN pg_index AS ind ON ind.indrelid = rel.oid
JOIN pg_class AS own ON own.oid = ind.indexrelid
ORDER BY rel.relname, ind.indisprimary DESC, own.relname

-- name: create_table
SELECT format('CREATE TABLE public.%I (', $1::text) || string_agg({defined}, ', ' ORDER BY one.number) || ')'
FROM ROWS FROM (json_to_recordset($2::json) AS {fields}) WITH ORDINALITY
    AS one (name, type, not_null, primary_key, default_expr, to_table, to_column, on_delete, number)

-- name: add_column
SELECT format('ALTER TABLE public.%I ADD COLUMN ', $1::text) || {defined}
FROM json_to_recordset($2::json) AS one {fields}

-- name: rename_table
SELECT format('ALTER TABLE public.%I RENAME TO %I', $1::text, $2::text)

-- name: truncate
SELECT format('TRUNCATE TABLE public.%I RESTART IDENTITY', $1::text) || CASE WHEN $2::boolean THEN ' CASCADE' ELSE '' END

-- name: drop_table
SELECT format('DROP TABLE public.%I', $1::text)

-- name: rename_column
SELECT format('ALTER TABLE public.%I RENAME COLUMN %I TO %I', $1::text, $2::text, $3::text)

-- name: alter_column
-- $3 is null where nullability stays; $4 says whether the default changes, to none if $5 is null.
SELECT format('ALTER TABLE public.%I ', $1::text) || concat_ws(', ',
    CASE $3::boolean WHEN true THEN format('ALTER COLUMN %I SET NOT NULL', $2::text)
        WHEN false THEN format('ALTER COLUMN %I DROP NOT NULL', $2::text) END,
    CASE WHEN $4::boolean THEN coalesce(format('ALTER COLUMN %I SET DEFAULT ', $2::text) || '(' || $5::text || ')',
        format('ALTER COLUMN %I DROP DEFAULT', $2::text)) END)

-- name: drop_column
SELECT format('ALTER TABLE public.%I DROP COLUMN %I', $1::text, $2::text)

-- name: create_index
SELECT format('CREATE %s INDEX %I ON public.%I (', CASE WHEN $4::boolean THEN 'UNIQUE' ELSE '' END, $2::text, $1::text)
    || string_agg(format('%I', one.name), ', ' ORDER BY one.number) || ')'
FROM unnest($3::text[]) WITH ORDINALITY AS one (name, number)

-- name: drop_index
SELECT format('DROP INDEX public.%I', $1::text)

-- name: rows
-- $2 are conditions, as templates for a column's name, and $3 what to order by.
SELECT format('SELECT * FROM public.%I', $1::text)
    || coalesce((SELECT ' WHERE ' || string_agg(format(one.template, one.name), ' AND ')
        FROM json_to_recordset($2::json) AS one (name text, template text)), '')
    || coalesce((SELECT ' ORDER BY ' || string_agg(format('%I ', one.name) || one.direction, ', ' ORDER BY one.number)
        FROM ROWS FROM (json_to_recordset($3::json) AS (name text, direction text)) WITH ORDINALITY
            AS one (name, direction, number)), '')
    || format(' LIMIT %s OFFSET %s', $4::bigint, $5::bigint)

-- name: insert_row
SELECT format('INSERT INTO public.%I (', $1::text) || string_agg(format('%I', one.name), ', ' ORDER BY one.number)
    || ') VALUES (' || string_agg(format('$%s', one.number), ', ' ORDER BY one.number) || ') RETURNING *'
FROM unnest($2::text[]) WITH ORDINALITY AS one (name, number)

-- name: update_cell
SELECT format('UPDATE public.%I SET %I = $1 WHERE ', $1::text, $3::text) || {keyed}
FROM unnest($4::text[]) WITH ORDINALITY AS keyed (name, number)

-- name: delete_row
SELECT format('DELETE FROM public.%I WHERE ', $1::text) || {keyed}
FROM unnest($3::text[]) WITH ORDINALITY AS keyed (name, number)
