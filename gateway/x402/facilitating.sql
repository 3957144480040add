-- name: spend
-- One statement decides for both budgets, the organization's and everybody's together; the day is UTC.
INSERT INTO gas_budgets (organization_id, day, gas)
SELECT $1, (now() AT TIME ZONE 'UTC')::date, $2::bigint WHERE $2::bigint <= $3::bigint
ON CONFLICT (organization_id, day) DO UPDATE SET gas = gas_budgets.gas + excluded.gas
WHERE gas_budgets.gas + excluded.gas <= $3::bigint
RETURNING gas
