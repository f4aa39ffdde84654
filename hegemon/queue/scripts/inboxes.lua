-- What lies in inboxes: dispatched, and not taken yet. KEYS[1] prefix. ARGV: epoch, generation.
-- Returns {'ok', {worker, entries, the entry that it would take next}, ...} for the inboxes that are not empty.
--#include leader
local answer = {'ok'}
for _, w in ipairs(redis.call('HKEYS', P .. 'workers')) do
  local n, head = 0, false
  for priority = 10, 0, -1 do
    local key = P .. 'inbox:' .. w .. ':' .. priority
    local length = redis.call('LLEN', key)
    if length > 0 and not head then head = redis.call('LINDEX', key, 0) end
    n = n + length
  end
  if n > 0 then answer[#answer + 1] = {w, n, head} end
end
return answer
