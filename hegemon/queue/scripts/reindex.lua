-- Put documents that live back into the index under the attempt that the caller has just won in MongoDB, or drop the ended.
-- KEYS[1] prefix. ARGV: epoch, generation, then for each: id, entry, body, due ms or ''; for an ended one: id, '', the
-- attempt that it ended with, ''.
-- Applied once, and not after a later attempt was, however late it comes; then it changes nothing at all: who is in
-- `recovering` or on the check list by now is there for a later reason.
-- Returns {'ok', indexed}.
--#include leader
--#include place
--#include time
--#include again
local back, indexed = {}, 0

local function done_with(id, attempt)
  local _, _, recovering = string.find(redis.call('HGET', P .. 'recovering', id) or '', '|[^:]+:(%d+):')
  if recovering and tonumber(recovering) <= attempt then redis.call('HDEL', P .. 'recovering', id) end
  redis.call('SREM', P .. 'check', id)
end

for i = 3, #ARGV, 4 do
  local id, entry, body, due = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local current = redis.call('HGET', P .. 'bodies', id)
  local standing = attempt_of(current)
  if entry == '' then
    local ended = tonumber(body)
    if standing <= ended and last_again(id) <= ended then
      if current and string.sub(current, 1, 2) ~= 't:' then redis.call('HDEL', P .. 'bodies', id) end
      done_with(id, ended)
    end
  else
    local attempt = tonumber(string.match(entry, '^[^:]+:(%d+):'))
    if standing >= attempt then
      done_with(id, attempt - 1)
    elseif last_again(id) < attempt then
      redis.call('HSET', P .. 'bodies', id, body)
      note_again(id, attempt)
      if current then
        redis.call('ZREM', P .. 'tombstones', id)
        end_claims(id, attempt)
      end
      if due == '' then back[#back + 1] = entry else redis.call('ZADD', P .. 'delayed', due, entry) end
      indexed = indexed + 1
      done_with(id, attempt - 1)
    end
  end
end
restore(back)
if indexed > 0 then
  forget_again(now_ms())
  wake('wake')
end
return {'ok', indexed}
