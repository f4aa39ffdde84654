-- Second half, once MongoDB says cancelled: tell the worker that holds the job. KEYS[1] prefix.
-- ARGV: generation, worker, id, attempt that was cancelled, now ms. If it went back meanwhile it gets its tombstone here.
-- Returns {'ok'}.
--#include member
--#include place
if redis.call('HEXISTS', P .. 'held:' .. ARGV[2], ARGV[3]) == 1 then
  redis.call('SADD', P .. 'cancels:' .. ARGV[2], ARGV[3] .. ':' .. ARGV[4])
  wake('wake:' .. ARGV[2])
  return {'ok'}
end
local body = redis.call('HGET', P .. 'bodies', ARGV[3])
if body and tonumber(string.match(body, '^t?:?(%d+)')) <= tonumber(ARGV[4]) then
  redis.call('HSET', P .. 'bodies', ARGV[3], 't:' .. ARGV[4])
  redis.call('ZADD', P .. 'tombstones', ARGV[5], ARGV[3])
end
return {'ok'}
