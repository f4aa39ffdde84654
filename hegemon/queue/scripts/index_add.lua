-- Bring a group of accepted jobs into the index. Idempotent: a group number is applied once per node incarnation, also if
-- its first sending arrives late, and a body that exists is left alone.
-- KEYS[1] prefix. ARGV: generation, node incarnation, group number, then for each job: entry, body, due ms or ''.
-- Returns {'ok', added, jobs in the index} or {'refused'} | {'closed'} | {'ok', -1, n} where the group had been applied.
--#include member
--#include place
local last = redis.call('HGET', P .. 'groups', ARGV[2])
if last == 'closed' then return {'closed'} end
local depth = redis.call('HLEN', P .. 'bodies')
if last and tonumber(ARGV[3]) <= tonumber(last) then return {'ok', -1, depth} end
redis.call('HSET', P .. 'groups', ARGV[2], ARGV[3])
local ready, later, added = {}, 0, 0
for i = 4, #ARGV, 3 do
  local entry = ARGV[i]
  local id = string.sub(entry, 1, 36)
  local new = redis.call('HSETNX', P .. 'bodies', id, ARGV[i + 1]) == 1
  if not new then
    -- A job that was requeued after its end: what stands there is the tombstone, or the body, of an earlier attempt.
    local earlier = string.match(redis.call('HGET', P .. 'bodies', id), '^t?:?(%d+)')
    if tonumber(earlier) < tonumber(string.match(entry, '^[^:]+:(%d+):')) then
      redis.call('HSET', P .. 'bodies', id, ARGV[i + 1])
      redis.call('ZREM', P .. 'tombstones', id)
      -- Whoever still holds the earlier attempt holds nothing any more.
      for _, w in ipairs(redis.call('HKEYS', P .. 'workers')) do redis.call('HDEL', P .. 'held:' .. w, id) end
      new = true
    end
  end
  if new then
    added = added + 1
    if ARGV[i + 2] == '' then
      ready[#ready + 1] = entry
    else
      redis.call('ZADD', P .. 'delayed', ARGV[i + 2], entry)
      later = later + 1
    end
  end
end
append(ready)
if added > 0 then wake('wake') end
return {'ok', added, depth + added}
