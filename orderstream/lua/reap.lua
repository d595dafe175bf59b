-- Remove consumers that hold nothing. XGROUP DELCONSUMER forgets what its consumer still had pending, and
-- those orders would never be delivered again: so look and delete in one step.
--
-- KEYS  stream
-- ARGV  group idle_ms [consumer]      only those idle for idle_ms; only this one
-- Returns the names removed
local gone = {}
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #info, 2 do
    consumer[info[i]] = info[i + 1]
  end
  local name = consumer['name']
  if consumer['pending'] == 0 and consumer['idle'] >= tonumber(ARGV[2]) and (ARGV[3] or name) == name then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
    gone[#gone + 1] = name
  end
end
return gone
