-- First half of a cancellation: make sure that a job which nobody holds cannot be dispatched any more.
-- KEYS[1] prefix. ARGV: generation, id, entry as its document says, now ms.
-- A body `t:attempt` is a tombstone: entries that meet it are dropped, and only a later attempt is indexed over it.
-- Returns {'ok', worker that holds it or ''}.
--#include member
for _, w in ipairs(redis.call('HKEYS', P .. 'workers')) do
  local held = redis.call('HGET', P .. 'held:' .. w, ARGV[2])
  if held then
    -- What still lies in its inbox was not taken: it leaves from there, and nobody holds it any more.
    local inbox = P .. 'inbox:' .. w .. ':' .. string.match(held, '^[^:]+:%d+:%d+:(%d+):')
    if redis.call('LREM', inbox, 1, held) == 0 then return {'ok', w} end
    redis.call('HDEL', P .. 'held:' .. w, ARGV[2])
    break
  end
end
-- Only here: what is held is its holder's, and a tombstone found over a live document is taken for half a cancellation.
redis.call('ZADD', P .. 'tombstones', ARGV[4], ARGV[2])
redis.call('HSET', P .. 'bodies', ARGV[2], 't:' .. string.match(ARGV[3], '^[^:]+:(%d+):'))
redis.call('ZREM', P .. 'delayed', ARGV[3])
return {'ok', ''}
