-- Move failed tries that MongoDB has recorded from held to delayed, under their next attempt.
-- KEYS[1] prefix. ARGV: generation, worker, then for each: old entry, new entry, new body, due ms.
-- Applied once: only what this worker still holds under the old entry moves; a cancelled job's tombstone is left alone.
-- Returns {'ok', moved}.
--#include worker
--#include place
local moved = 0
for i = 3, #ARGV, 4 do
  local id = string.sub(ARGV[i], 1, 36)
  if redis.call('HGET', P .. 'held:' .. W, id) == ARGV[i] then
    redis.call('HDEL', P .. 'held:' .. W, id)
    if string.sub(redis.call('HGET', P .. 'bodies', id) or '', 1, 2) ~= 't:' then
      redis.call('HSET', P .. 'bodies', id, ARGV[i + 2])
      redis.call('ZADD', P .. 'delayed', ARGV[i + 3], ARGV[i + 1])
      moved = moved + 1
    end
  end
end
wake('wake')
return {'ok', moved}
