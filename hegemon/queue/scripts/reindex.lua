-- Put documents that live back into the index under the attempt that the caller has just won in MongoDB, or drop the ended.
-- KEYS[1] prefix. ARGV: epoch, generation, then for each: id, entry or '' (ended), body, due ms or ''.
-- Applied once: a body of the same or a later attempt means that somebody was here before.
-- Returns {'ok', indexed}.
--#include leader
--#include place
local back, indexed = {}, 0
for i = 3, #ARGV, 4 do
  local id, entry, body, due = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local current = redis.call('HGET', P .. 'bodies', id)
  if entry == '' then
    if current and string.sub(current, 1, 2) ~= 't:' then redis.call('HDEL', P .. 'bodies', id) end
  else
    local was = current and tonumber(string.match(current, '^t?:?(%d+)')) or 0
    if was < tonumber(string.match(entry, '^[^:]+:(%d+):')) then
      redis.call('HSET', P .. 'bodies', id, body)
      redis.call('ZREM', P .. 'tombstones', id)
      if due == '' then back[#back + 1] = entry else redis.call('ZADD', P .. 'delayed', due, entry) end
      indexed = indexed + 1
    end
  end
  redis.call('HDEL', P .. 'recovering', id)
  redis.call('SREM', P .. 'check', id)
end
restore(back)
if indexed > 0 then wake('wake') end
return {'ok', indexed}
