-- name: units
SELECT compute_unit_min, compute_unit_max FROM projects WHERE id = $1
