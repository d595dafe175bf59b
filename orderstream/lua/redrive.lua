-- Put a dead letter back into its stream as a new entry. Calling it twice is harmless: the second call finds
-- nothing.
--
-- KEYS  dead-letter stream, stream
-- ARGV  id  name value [name value ...]       its original fields; the caller has read them, and no entry ever changes
-- Returns the new entry id; nil if there is no such dead letter
local dlq, stream = KEYS[1], KEYS[2]
local id, first_field = ARGV[1], 2

if #redis.call('XRANGE', dlq, id, id) == 0 then
  return false
end
local new_id = redis.call('XADD', stream, '*', unpack(ARGV, first_field))
redis.call('XDEL', dlq, id)
return new_id
