-- Remove from the head of the stream what every group was given and has acked. The oldest entry that some
-- group still needs stays, and so does all that came after it.
--
-- KEYS  stream
-- ARGV  step    the most entries to remove, but for the last few; call again while about so many were
-- Returns {removed, left} or {removed, left, group, id, pending}
--   group    needs the oldest entry that is needed at all; none if the stream has no group, or is empty now
--   id       that entry
--   pending  1 if it is pending, 0 if the group has not read it yet
local stream, step = KEYS[1], tonumber(ARGV[1])
local last_possible = '18446744073709551615-18446744073709551615'
local needed

-- As numbers, ids lose digits above 2^53. As texts of one length they are in order, whatever the locale.
local function in_order(id)
  return (string.gsub(id, '%d+', function(digits) return string.rep('0', 20 - #digits) .. digits end))
end

local function need(group, id, pending)
  if id and (not needed or in_order(id) < in_order(needed[2])) then
    needed = {group, id, pending}
  end
end

local groups = redis.call('XINFO', 'GROUPS', stream)
for _, info in ipairs(groups) do
  local group = {}
  for i = 1, #info, 2 do
    group[info[i]] = info[i + 1]
  end
  need(group['name'], redis.call('XPENDING', stream, group['name'])[2], 1)
  local read = group['last-delivered-id']
  if read ~= last_possible then                                 -- XRANGE refuses to look behind that one
    local unread = redis.call('XRANGE', stream, '(' .. read, '+', 'COUNT', 1)[1]
    need(group['name'], unread and unread[1], 0)                -- XGROUP SETID may have put it before the pending ones
  end
end

local removed = 0
if #groups > 0 then                                             -- else nobody has read anything: keep it
  local strategy, threshold = 'MAXLEN', 0                       -- MINID keeps its threshold, an entry that is needed
  if needed then
    strategy, threshold = 'MINID', needed[2]
  end
  removed = redis.call('XTRIM', stream, strategy, '~', threshold, 'LIMIT', step)
  if removed < step / 2 then                                    -- of what may go, only a part of one node is left
    removed = removed + redis.call('XTRIM', stream, strategy, threshold)
  end
end
return {removed, redis.call('XLEN', stream), unpack(needed or {})}
