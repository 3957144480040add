-- The least id of those that were made at a moment or later: they begin with their time in milliseconds. So what an account was
-- given since then is a range of an index.
CREATE FUNCTION first_id_at(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- What was earned since then was too young for the payout when it was asked for; null where no age was.
ALTER TABLE payouts ADD COLUMN earned_before timestamptz;
