-- Token buckets for everybody who is waiting. KEYS are the buckets, each once. The argument is two lists as
-- MessagePack. The first has for each bucket its rate (tokens a second) and its burst; the second, for each who asks,
-- what it takes (1, or -1 to give back), how many buckets it takes that from, and their positions in KEYS. One takes
-- from all of its buckets or from none. Returns, as MessagePack too, for each: 0 or the milliseconds until it may take, the position of the bucket that decides among its
-- own, the tokens left there, and the milliseconds until it is full.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local sizes, askings = unpack(cmsgpack.unpack(ARGV[1]))
local stored = redis.call('MGET', unpack(KEYS))
local rates, bursts, tokens = {}, {}, {}
for i = 1, #KEYS do
    rates[i], bursts[i] = sizes[2 * i - 1], sizes[2 * i]
    local left, at = string.match(stored[i] or '', '^(%S+) (%S+)$')
    left, at = tonumber(left) or bursts[i], tonumber(at) or now
    tokens[i] = math.min(bursts[i], left + math.max(0, now - at) * rates[i] / 1000)
end
local answers, next = {}, 1
while next <= #askings do
    local cost, count = askings[next], askings[next + 1]
    local wait, tightest, least = 0, 1, math.huge
    for j = 1, count do
        local i = askings[next + 1 + j]
        local missing = math.ceil((cost - tokens[i]) * 1000 / rates[i])
        if missing > wait then
            wait, tightest = missing, j
        elseif wait == 0 and tokens[i] < least then
            least, tightest = tokens[i], j
        end
    end
    for j = 1, wait == 0 and count or 0 do
        local i = askings[next + 1 + j]
        tokens[i] = math.min(bursts[i], tokens[i] - cost)
    end
    local i = askings[next + 1 + tightest]
    local reset = math.ceil((bursts[i] - tokens[i]) * 1000 / rates[i])
    answers[#answers + 1] = {wait, tightest, math.floor(tokens[i]), reset}
    next = next + 2 + count
end
for i, key in ipairs(KEYS) do
    -- A bucket that would be full again may as well not be there.
    local life = math.ceil(bursts[i] * 1000 / rates[i]) + 1000
    redis.call('SET', key, string.format('%.6f %.0f', tokens[i], now), 'PX', life)
end
return cmsgpack.pack(answers)
