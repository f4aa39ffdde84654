-- Take jobs off `recovering` that need nothing: a later attempt of theirs is in the index. KEYS[1] prefix.
-- ARGV: epoch, generation, then for each: id, the entry that it is there for; one that came there since stays.
-- Returns {'ok'}.
--#include leader
for i = 3, #ARGV, 2 do
  local there = redis.call('HGET', P .. 'recovering', ARGV[i])
  if there and string.sub(there, -#ARGV[i + 1]) == ARGV[i + 1] then redis.call('HDEL', P .. 'recovering', ARGV[i]) end
end
return {'ok'}
