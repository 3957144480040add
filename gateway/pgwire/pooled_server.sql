-- name: restore
-- In a project's server, as its client: what another client left otherwise.
SELECT set_config(wanted.key, wanted.value, false) FROM json_each_text($1::json) AS wanted
