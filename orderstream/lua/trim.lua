-- Remove the oldest entries of the stream that every group was given and has acked. The oldest entry that some
-- group still needs stays, and all entries after it stay, too.
--
-- KEYS  stream
-- ARGV  step    remove about so many entries at most; if about so many were removed, call again
-- Returns {removed, left} or {removed, left, group, id, pending}
--   group    the group that needs the oldest entry; missing if no group needs any, or if there is no group
--   id       that entry
--   pending  1 if it is pending, 0 if the group has not read it yet
local stream, step = KEYS[1], tonumber(ARGV[1])
local last_possible = '18446744073709551615-18446744073709551615'
local needed

-- Lua's numbers lose digits above 2^53. So ids are compared as texts of equal length: that works in every locale.
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
  if read ~= last_possible then                                 -- XRANGE refuses to look behind this id
    local unread = redis.call('XRANGE', stream, '(' .. read, '+', 'COUNT', 1)[1]
    need(group['name'], unread and unread[1], 0)                -- after XGROUP SETID it may be older than the pending
  end
end

local removed = 0
if #groups > 0 then                                             -- without a group nobody has read anything: keep all
  local strategy, threshold = 'MAXLEN', 0                       -- MINID keeps the entry at the threshold
  if needed then
    strategy, threshold = 'MINID', needed[2]
  end
  removed = redis.call('XTRIM', stream, strategy, '~', threshold, 'LIMIT', step)
  if removed < step / 2 then                                    -- what is left is a part of a node: ~ keeps it
    removed = removed + redis.call('XTRIM', stream, strategy, threshold)
  end
end
return {removed, redis.call('XLEN', stream), unpack(needed or {})}
