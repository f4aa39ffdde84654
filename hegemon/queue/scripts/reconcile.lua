-- Put ids that a worker holds, but neither knows nor has in its inbox, back into the inbox: a reply of `take` was lost.
-- KEYS[1] prefix. ARGV: generation, worker, number of the call, ids that were missing twice ...
-- Returns {'ok', {every held id not in the inbox}}; ids of ARGV that are in the inbox, or not held, are left alone.
--#include worker
--#include turn
--#include place
local waiting = {}
for priority = 0, 10 do
  for _, entry in ipairs(redis.call('LRANGE', P .. 'inbox:' .. W .. ':' .. priority, 0, -1)) do
    waiting[string.sub(entry, 1, 36)] = true
  end
end
local returned = false
for i = 4, #ARGV do
  local entry = redis.call('HGET', P .. 'held:' .. W, ARGV[i])
  if entry and not waiting[ARGV[i]] then
    local place = place_of(entry)
    redis.call('LPUSH', P .. 'inbox:' .. W .. ':' .. string.match(place, ':(%d+)$'), entry)
    waiting[ARGV[i]] = true
    returned = true
  end
end
if returned then wake('wake:' .. W) end
local missing = {}
for _, id in ipairs(redis.call('HKEYS', P .. 'held:' .. W)) do
  if not waiting[id] then missing[#missing + 1] = id end
end
return {'ok', missing}
