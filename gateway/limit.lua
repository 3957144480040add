-- Token buckets, one for each key. ARGV is rate (tokens a second) and burst for each key in turn, so one call
-- decides for everybody who is waiting. Returns, for each key, 0 or the milliseconds until a token is there.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local waits = {}
for i, key in ipairs(KEYS) do
    local rate, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local bucket = redis.call('HMGET', key, 'tokens', 'at')
    local tokens, at = tonumber(bucket[1]) or burst, tonumber(bucket[2]) or now
    tokens = math.min(burst, tokens + math.max(0, now - at) * rate / 1000)
    if tokens >= 1 then
        tokens, waits[i] = tokens - 1, 0
    else
        waits[i] = math.ceil((1 - tokens) * 1000 / rate)
    end
    redis.call('HSET', key, 'tokens', tostring(tokens), 'at', now)
    -- A bucket that would be full again may as well not be there.
    redis.call('PEXPIRE', key, math.ceil(burst * 1000 / rate) + 1000)
end
return waits
