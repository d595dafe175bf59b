-- Move an entry to the dead-letter stream: check that this consumer still holds it, add, and only then ack.
-- MULTI is not enough: it runs the XACK even when the XADD failed, and the order is lost.
--
-- KEYS  stream, dead-letter stream
-- ARGV  group consumer id attempt  name value  [name value ...]   the metadata, appended last
-- Returns the id in the dead-letter stream; nil if this consumer holds the entry no longer, or it was moved before
local stream, dlq = KEYS[1], KEYS[2]
local group, consumer, id, attempt = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local first_of_metadata = 5

local mine = redis.call('XPENDING', stream, group, id, id, 1, consumer)[1]
if not mine or mine[4] ~= attempt then
  return false
end
local entry = redis.call('XRANGE', stream, id, id)[1]
local fields = entry and entry[2] or {}
if #fields > 4000 then                                          -- unpack() fails at about 8000 values
  fields = {'dlq-packed', cmsgpack.pack(fields)}
end
for i = first_of_metadata, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
redis.call('XACK', stream, group, '0-0')                        -- changes nothing, see group.lua: on a full Redis, too,
local dead = redis.call('XADD', dlq, '*', unpack(fields))       -- the order must go, or trim could not pass it
redis.call('XACK', stream, group, id)
return dead
