-- Keep entries, or hand them over to nobody: set the owner, the idle clock and perhaps the delivery count. Only
-- entries that this consumer still holds: same owner, same delivery count. So a consumer that was overtaken while it
-- slept changes nothing, and a heartbeat that comes late does not take back what was handed over.
--
--   heartbeat   owner consumer    idle 0                        undo 0
--   retry       owner (nobody)    idle claim_idle_ms - delay    undo 0
--   defer       owner (nobody)    idle claim_idle_ms - delay    undo 1    the delivery is not counted
--   release     owner (nobody)    idle claim_idle_ms            undo 1    due now, not counted
--
-- KEYS  stream
-- ARGV  group consumer owner undo  id attempt idle_ms  [id attempt idle_ms ...]
-- Returns the ids that this consumer held
local stream = KEYS[1]
local group, consumer, owner, undo = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local first_entry = 5

local held = {}
for i = first_entry, #ARGV, 3 do
  local id, attempt, idle_ms = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local mine = redis.call('XPENDING', stream, group, id, id, 1, consumer)[1]
  if mine and mine[4] == attempt then
    redis.call('XCLAIM', stream, group, owner, 0, id, 'IDLE', idle_ms, 'RETRYCOUNT', attempt - undo, 'JUSTID')
    held[#held + 1] = id
  end
end
return held
