-- Put a dead letter back into its stream as a new entry, with its original fields. Calling it twice is
-- harmless: the second call finds nothing.
--
-- KEYS  dead-letter stream, stream
-- ARGV  id  name [name ...]                                    the names of the metadata, in order
-- Returns the new entry id; nil if there is no such dead letter. The error 'this dead letter ...' says why it stays
local dlq, stream, id = KEYS[1], KEYS[2], ARGV[1]
local first_name = 2
local metadata = 2 * (#ARGV - 1)                                -- names and values
local counts = {['dlq-deliveries'] = true, ['dlq-at'] = true}

-- An entry that another program wrote is put back whole, like DeadLetter.from_entry shows it.
local function is_ours(fields)
  for i = first_name, #ARGV do
    local at = #fields - metadata + 2 * (i - first_name) + 1
    local name, value = fields[at], fields[at + 1]
    if name ~= ARGV[i] or counts[name] and not (#value <= 15 and string.find(value, '^%d+$')) then
      return false
    end
  end
  return true
end

local function unpacked(fields)
  if fields[1] ~= 'dlq-packed' or #fields ~= 2 then
    return fields
  end
  local ok, original, more = pcall(cmsgpack.unpack, fields[2])
  if not ok or more or type(original) ~= 'table' or #original == 0 or #original % 2 == 1 then
    return fields
  end
  for _, value in ipairs(original) do
    if type(value) ~= 'string' then
      return fields
    end
  end
  return original
end

local entry = redis.call('XRANGE', dlq, id, id)[1]
if not entry then
  return false
end
local fields = entry[2]
if is_ours(fields) then
  for _ = 1, metadata do
    fields[#fields] = nil
  end
  fields = unpacked(fields)
end
if #fields > 7980 then                                          -- with a few more, unpack() fails
  return redis.error_reply('ERR this dead letter has ' .. #fields / 2 .. ' fields, and a script can add 3990 at most: '
    .. 'it stays where it is. Add it with XADD, then purge it')
end
if #fields == 0 then
  return redis.error_reply('ERR this dead letter has no fields to put back: its entry was deleted before it was '
    .. 'dead-lettered. It stays where it is; purge it')
end
local new_id = redis.call('XADD', stream, '*', unpack(fields))
redis.call('XDEL', dlq, id)
return new_id
