-- Remove consumers that hold nothing. XGROUP DELCONSUMER forgets what its consumer still had pending, and
-- those orders would never be delivered again. So this script looks and deletes in one step.
--
-- KEYS  stream
-- ARGV  group idle_ms [consumer]      only consumers idle for idle_ms; only this consumer, if named
-- Returns the names removed
local stream = KEYS[1]
local group, idle_ms, only = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local gone = {}
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for i = 1, #info, 2 do
    consumer[info[i]] = info[i + 1]
  end
  local name = consumer['name']
  if consumer['pending'] == 0 and consumer['idle'] >= idle_ms and (not only or only == name) then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
    gone[#gone + 1] = name
  end
end
return gone
