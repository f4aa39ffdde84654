-- Of which attempt the bodies (or tombstones) of these ids are; 0: there is none.
-- Whoever wants to index them again must read their documents after this, not before.
-- KEYS[1] prefix. ARGV: generation, ids ... Returns {'ok', attempt, ...}.
--#include member
local answer = {'ok'}
for i = 2, #ARGV do
  local body = redis.call('HGET', P .. 'bodies', ARGV[i])
  answer[i] = body and tonumber(string.match(body, '^t?:?(%d+)')) or 0
end
return answer
