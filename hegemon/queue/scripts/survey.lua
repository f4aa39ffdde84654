-- What the leader needs to decide: the workers' load and the heads of the ready lists, in priority order per queue.
-- KEYS[1] prefix. ARGV: epoch, generation, entries wanted over all queues.
-- Returns {'ok', {worker, held, window, ...}, due ms of the next delayed job or '', now ms, death reports waiting,
--          {parked reason, ...}, {entry, ...} per queue ...}; forgets queues that have run empty.
--#include leader
--#include time
local workers = {}
for _, w in ipairs(redis.call('HKEYS', P .. 'workers')) do
  workers[#workers + 1] = w
  workers[#workers + 1] = redis.call('HLEN', P .. 'held:' .. w)
  workers[#workers + 1] = tonumber(redis.call('HGET', P .. 'window', w) or '0')
end
local first = redis.call('ZRANGE', P .. 'delayed', 0, 0, 'WITHSCORES')
local answer = {
  'ok', workers, first[2] or '', now_ms(), redis.call('HLEN', P .. 'dead'), redis.call('SMEMBERS', P .. 'parked'),
}
local want = tonumber(ARGV[3])
local queues = redis.call('SMEMBERS', P .. 'queues')
table.sort(queues)
-- Many deep queues share what is wanted: none needs more than its turn.
want = math.max(16, math.ceil(want / math.max(#queues, 1)))
for _, queue in ipairs(queues) do
  local found, empty = {}, true
  for priority = 10, 0, -1 do
    local key = P .. 'ready:' .. queue .. ':' .. priority
    if #found < want then
      for _, entry in ipairs(redis.call('LRANGE', key, 0, want - #found - 1)) do found[#found + 1] = entry end
    end
    if empty and redis.call('EXISTS', key) == 1 then empty = false end
  end
  if empty then redis.call('SREM', P .. 'queues', queue) elseif #found > 0 then answer[#answer + 1] = found end
end
return answer
