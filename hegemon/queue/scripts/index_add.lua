-- Bring a group of accepted jobs into the index. Idempotent: a group number is applied once per node incarnation, also if
-- its first sending arrives late.
-- KEYS[1] prefix. ARGV: generation, node incarnation, group number, then for each job: entry, body, due ms or '', the
-- attempt of what `probe` saw in the index before the document was read, 0 for nothing.
-- A body of the same or a later attempt is left alone. What does not stand as it was seen may have run to its end in
-- between: it is not added, and must be looked at again.
-- Returns {'ok', added, jobs in the index, id that must be looked at again, ...} or {'refused'} | {'closed'}, or
-- {'ok', -1, n} where the group had been applied.
--#include member
--#include place
--#include time
--#include again
local last = redis.call('HGET', P .. 'groups', ARGV[2])
if last == 'closed' then return {'closed'} end
local depth = redis.call('HLEN', P .. 'bodies')
if last and tonumber(ARGV[3]) <= tonumber(last) then return {'ok', -1, depth} end
redis.call('HSET', P .. 'groups', ARGV[2], ARGV[3])
local ready, changed, added, noted = {}, {}, 0, false
for i = 4, #ARGV, 4 do
  local entry, body, due, seen = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local id, attempt = string.sub(entry, 1, 36), tonumber(string.match(entry, '^[^:]+:(%d+):'))
  local late = last_again(id) >= attempt
  local new = not late and seen == 0 and redis.call('HSETNX', P .. 'bodies', id, body) == 1
  if not new then
    local standing = attempt_of(redis.call('HGET', P .. 'bodies', id))
    if standing < attempt then
      if late then
        redis.call('SADD', P .. 'check', id)
      elseif standing ~= seen then
        changed[#changed + 1] = id
      else
        -- A job that was requeued after its end: what stands there is the tombstone, or the body, of an earlier attempt.
        redis.call('HSET', P .. 'bodies', id, body)
        redis.call('ZREM', P .. 'tombstones', id)
        end_claims(id, attempt)
        new = true
      end
    end
  end
  if new then
    added = added + 1
    if attempt > 1 then
      note_again(id, attempt)
      noted = true
    end
    if due == '' then ready[#ready + 1] = entry else redis.call('ZADD', P .. 'delayed', due, entry) end
  end
end
append(ready)
if noted then forget_again(now_ms()) end
if added > 0 then wake('wake') end
local answer = {'ok', added, depth + added}
for _, id in ipairs(changed) do answer[#answer + 1] = id end
return answer
