-- Move the idle clock, and perhaps the delivery count, of entries that are still ours: same owner, same
-- delivery count. A consumer that was overtaken while it slept changes nothing.
--
--   heartbeat   idle 0                        undo 0
--   retry       idle claim_idle_ms - delay    undo 0
--   defer       idle claim_idle_ms - delay    undo 1    the delivery is not counted
--   release     idle claim_idle_ms            undo 1    due now, not counted
--
-- KEYS  stream
-- ARGV  group consumer idle_ms undo  id attempt  [id attempt ...]
-- Returns the ids that were still ours
local held = {}
for i = 5, #ARGV, 2 do
  local id, attempt = ARGV[i], tonumber(ARGV[i + 1])
  local mine = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])[1]
  if mine and mine[4] == attempt then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id,
      'IDLE', ARGV[3], 'RETRYCOUNT', attempt - tonumber(ARGV[4]), 'JUSTID')
    held[#held + 1] = id
  end
end
return held
