-- Remove a consumer that holds nothing. XGROUP DELCONSUMER forgets what its consumer still had pending,
-- and those orders would never be delivered again: so look and delete in one step.
--
-- KEYS  stream
-- ARGV  group consumer
-- Returns 1 if it was removed
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #info, 2 do
    consumer[info[i]] = info[i + 1]
  end
  if consumer['name'] == ARGV[2] and consumer['pending'] == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    return 1
  end
end
return 0
