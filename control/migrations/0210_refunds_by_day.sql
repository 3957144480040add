-- What a publisher gave back is asked for by days, over all of its charges.

CREATE INDEX ON charge_changes (created_at) WHERE kind = 'refund';
