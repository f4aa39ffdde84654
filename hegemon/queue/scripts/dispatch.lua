-- Move exactly the decided entries from the heads of their lists into inboxes and held sets, or to a parking place.
-- KEYS[1] prefix. ARGV: epoch, generation, then runs: place "queue:priority", n, and n pairs (entry, target).
-- A target is a worker incarnation, or '!reason' to park. A run stops where the list no longer reads as it was surveyed.
-- Returns {'ok', moved, parked}. An entry for a worker that closed meanwhile stays where it is and ends its run.
--#include leader
--#include place
local open, woken, moved, parked = {}, {}, 0, 0
local i = 3
while i <= #ARGV do
  local place, n = ARGV[i], tonumber(ARGV[i + 1])
  local key = P .. 'ready:' .. place
  local priority = string.match(place, ':(%d+)$')
  local heads = redis.call('LRANGE', key, 0, n - 1)
  local held, inbox, taken = {}, {}, 0
  for j = 1, n do
    local entry, target = ARGV[i + 2 * j], ARGV[i + 2 * j + 1]
    if heads[j] ~= entry then break end
    if string.sub(target, 1, 1) == '!' then
      local _, seq = place_of(entry)
      redis.call('ZADD', P .. 'parked:' .. string.sub(target, 2), seq, entry)
      redis.call('SADD', P .. 'parked', string.sub(target, 2))
      parked = parked + 1
    else
      if open[target] == nil then open[target] = redis.call('HEXISTS', P .. 'workers', target) == 1 end
      if not open[target] then break end
      if not held[target] then held[target], inbox[target] = {}, {} end
      local h, b = held[target], inbox[target]
      h[#h + 1] = string.sub(entry, 1, 36)
      h[#h + 1] = entry
      b[#b + 1] = entry
      moved = moved + 1
    end
    taken = j
  end
  if taken > 0 then redis.call('LPOP', key, taken) end
  for w, fields in pairs(held) do
    chunked('HSET', P .. 'held:' .. w, fields, 4000)
    chunked('RPUSH', P .. 'inbox:' .. w .. ':' .. priority, inbox[w], 4000)
    woken[w] = true
  end
  i = i + 2 + 2 * n
end
for w in pairs(woken) do wake('wake:' .. w) end
return {'ok', moved, parked}
