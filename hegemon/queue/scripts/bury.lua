-- Forget jobs whose end MongoDB has confirmed. KEYS[1] prefix. ARGV: epoch, generation, then for each: id, attempt.
-- Removes the tombstone, or the body that was held while the job was cancelled, unless a later attempt stands there.
-- Returns {'ok'}.
--#include leader
for i = 3, #ARGV, 2 do
  local body = redis.call('HGET', P .. 'bodies', ARGV[i])
  if not body or tonumber(string.match(body, '^t?:?(%d+)')) <= tonumber(ARGV[i + 1]) then
    redis.call('HDEL', P .. 'bodies', ARGV[i])
    redis.call('ZREM', P .. 'tombstones', ARGV[i])
  end
end
return {'ok'}
