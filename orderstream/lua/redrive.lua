-- Put a dead letter back into its stream as a new entry, with its original fields. Calling it twice is
-- harmless: the second call finds nothing.
--
-- KEYS  dead-letter stream, stream
-- ARGV  id, number of metadata pairs
-- Returns the new entry id; nil if there is no such dead letter, or nothing in it
local dlq, stream = KEYS[1], KEYS[2]
local id, metadata_pairs = ARGV[1], tonumber(ARGV[2])

local entry = redis.call('XRANGE', dlq, id, id)[1]
if not entry then
  return false
end
local fields, metadata = entry[2], 2 * metadata_pairs
if fields[#fields - metadata + 1] == 'dlq-stream' then          -- otherwise another program wrote it: keep it whole
  for _ = 1, metadata do
    fields[#fields] = nil
  end
  if fields[1] == 'dlq-packed' and #fields == 2 then
    fields = cmsgpack.unpack(fields[2])
  end
end
if #fields > 7980 then                                          -- with a few more, unpack() fails
  return redis.error_reply('ERR this dead letter has ' .. #fields / 2 .. ' fields, and a script can add 3990 at most: '
    .. 'it stays where it is. Add it with XADD, then purge it')
end
if #fields == 0 then                                            -- its entry was deleted before it was dead-lettered
  return false
end
local new_id = redis.call('XADD', stream, '*', unpack(fields))
redis.call('XDEL', dlq, id)
return new_id
