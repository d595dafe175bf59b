-- Take over the next entry that nobody has worked on for claim_idle_ms. One entry only: an entry that
-- kills its process must not take its neighbours with it.
--
-- KEYS  stream
-- ARGV  group consumer claim_idle_ms cursor page alone nobody
--   cursor   '-' begins a walk over the pending entries
--   nobody   the owner of what was handed over properly
--   alone    an entry whose consumer died is not taken if this would be its delivery of that number; 0 takes all; below
--            0 such an entry is passed over
-- Returns {cursor, lost ids, soonest}, or {cursor, lost ids, soonest, id, fields, attempt, owner}, or for an entry that
-- is not taken {cursor, lost ids, soonest, id}
--   cursor   where the next call goes on; '-' when the walk is over
--   lost     pending entries that were deleted or trimmed away; they are pending no more
--   soonest  milliseconds until the first entry on this page becomes due
--   owner    who had the entry before; '' if it was given back with XNACK
local stream = KEYS[1]
local group, consumer, idle_needed, cursor = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local page_size, alone, nobody = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]

local function after(id)                                        -- Redis refuses to look behind the highest id there is
  return id == '18446744073709551615-18446744073709551615' and '-' or '(' .. id
end

local lost, soonest = {}, idle_needed
local page = redis.call('XPENDING', stream, group, cursor, '+', page_size)
for _, pending in ipairs(page) do
  local id, idle = pending[1], pending[3]
  if idle >= idle_needed or idle < 0 then                       -- below 0: it was given back with XNACK (8.8)
    local attempt = math.min(pending[4] + 1, 1000000000)        -- XNACK FATAL sets 2^63-1: too much for Lua
    local handed_over = pending[2] == nobody or pending[2] == ''
    if attempt ~= math.abs(alone) or handed_over then
      local entry = redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', attempt)[1]
      if entry then
        return {after(id), lost, 0, id, entry[2], attempt, pending[2]}
      end
      redis.call('XACK', stream, group, id)                     -- 6.2 keeps a deleted entry pending for ever
      lost[#lost + 1] = id
    elseif alone > 0 then
      return {cursor, lost, 0, id}
    end
  else
    soonest = math.min(soonest, idle_needed - idle)
  end
end
local walk_over = #page < page_size
return {walk_over and '-' or after(page[#page][1]), lost, soonest}
