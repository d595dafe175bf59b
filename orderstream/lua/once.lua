-- Add an entry unless it was added before under the same key, and remember it for a while. XADD … IDMP (Redis 8.6)
-- remembers a number of entries instead, 10,000 at most: a fast sender fills that in less time than it sends again.
--
-- KEYS  stream, the key that remembers this order
-- ARGV  milliseconds to remember it  name value  [name value ...]
-- Returns the id of the entry that was added, now or before
local stream, memory = KEYS[1], KEYS[2]
local remember_ms, first_field = ARGV[1], 2

local before = redis.call('GET', memory)
if before then
  return before
end
local id = redis.call('XADD', stream, '*', unpack(ARGV, first_field))
redis.call('SET', memory, id, 'PX', remember_ms)
return id
