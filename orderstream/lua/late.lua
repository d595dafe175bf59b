-- Note in dead letters that their orders were handled after all: the ack came when the entry had been dead-lettered.
-- An entry of a stream cannot be changed. So the letter is added again with another reason, and the old one deleted.
--
-- KEYS  dead-letter stream, stream
-- ARGV  group newest  id [id ...]      look at so many of the newest letters; the ids that were acked too late
-- Returns how many letters were found
local dlq, stream = KEYS[1], KEYS[2]
local group, newest = ARGV[1], tonumber(ARGV[2])
local first_id = 3
local note = 'handled after all; before that: '

local late = {}
for i = first_id, #ARGV do
  late[ARGV[i]] = true
end
redis.call('XACK', stream, group, '0-0')                        -- changes nothing, and lets a full Redis take the rest
local found = 0
for _, letter in ipairs(redis.call('XREVRANGE', dlq, '+', '-', 'COUNT', newest)) do
  local id, fields = letter[1], letter[2]
  local last = #fields                                          -- the metadata stand behind the original fields
  local ours = fields[last - 11] == 'dlq-stream' and fields[last - 10] == stream and fields[last - 8] == group
  if ours and late[fields[last - 6]] and string.sub(fields[last - 2], 1, #note) ~= note then
    fields[last - 2] = note .. fields[last - 2]
    redis.call('XADD', dlq, '*', unpack(fields))
    redis.call('XDEL', dlq, id)
    found = found + 1
  end
end
return found
