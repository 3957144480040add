-- What a payer has promised to calls that are running, asked for at each new payment of its.
CREATE INDEX ON payments (asset_id, payer) WHERE state = 'claimed';
