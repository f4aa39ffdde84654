-- A worker lets go of jobs whose claim was refused or that were cancelled under it. KEYS[1] prefix.
-- ARGV: generation, worker, then for each: id, attempt. A body of that very attempt has no claim left and goes too;
-- whoever won a later attempt has put, or will put, a body of its own. Returns {'ok'}.
--#include worker
for i = 3, #ARGV, 2 do
  local held = redis.call('HGET', P .. 'held:' .. W, ARGV[i])
  if held and string.match(held, '^[^:]+:(%d+):') == ARGV[i + 1] then redis.call('HDEL', P .. 'held:' .. W, ARGV[i]) end
  local body = redis.call('HGET', P .. 'bodies', ARGV[i])
  if body and string.match(body, '^(%d+):') == ARGV[i + 1] then redis.call('HDEL', P .. 'bodies', ARGV[i]) end
end
return {'ok'}
