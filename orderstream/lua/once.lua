-- Add an entry unless it was added before under the same key, and remember it for a while. What XADD … IDMP
-- does from Redis 8.6 on.
--
-- KEYS  stream, the key that remembers this order
-- ARGV  milliseconds to remember it  name value  [name value ...]
-- Returns the entry id, of now or of then
local before = redis.call('GET', KEYS[2])
if before then
  return before
end
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('SET', KEYS[2], id, 'PX', ARGV[1])
return id
