-- First half of a cancellation: make sure that a job which nobody holds cannot be dispatched any more.
-- KEYS[1] prefix. ARGV: generation, id, entry as its document says, now ms.
-- A body `t:attempt` is a tombstone: entries that meet it are dropped, and only a later attempt is indexed over it.
-- Returns {'ok', worker that holds it or ''}.
--#include member
redis.call('ZADD', P .. 'tombstones', ARGV[4], ARGV[2])
for _, w in ipairs(redis.call('HKEYS', P .. 'workers')) do
  if redis.call('HEXISTS', P .. 'held:' .. w, ARGV[2]) == 1 then return {'ok', w} end
end
redis.call('HSET', P .. 'bodies', ARGV[2], 't:' .. string.match(ARGV[3], '^[^:]+:(%d+):'))
redis.call('ZREM', P .. 'delayed', ARGV[3])
return {'ok', ''}
