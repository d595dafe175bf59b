-- Create the group unless it exists, and the stream if there is none. The group begins at the first entry.
-- A full Redis refuses XGROUP CREATE, although what the group's consumers handle can be trimmed: who frees memory
-- must get in. Redis looks at its memory only before a script's first write, and only if that write could take
-- memory. So the first write here is one that changes nothing.
--
-- KEYS  stream
-- ARGV  group
local stream, group = KEYS[1], ARGV[1]

redis.call('XACK', stream, group, '0-0')
local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then
  return made
end
return 'OK'
