-- A node's beat for itself and for its worker processes. KEYS[1] prefix.
-- ARGV: node incarnation, information (JSON), then workers ...
-- Returns {generation or '', state or '', epoch or '', now ms, jobs in the index, suspects waiting, open (1 or 0) per worker ...}.
local P = KEYS[1]
--#include time
local marker = redis.call('HMGET', P .. 'marker', 'generation', 'state', 'epoch')
local answer = {marker[1] or '', marker[2] or '', marker[3] or '', now_ms(), 0, 0}
if not marker[1] then
  for i = 3, #ARGV do answer[#answer + 1] = 0 end
  return answer
end
redis.call('HSET', P .. 'nodes', ARGV[1], ARGV[2])
redis.call('HINCRBY', P .. 'beats', ARGV[1], 1)
answer[5] = redis.call('HLEN', P .. 'bodies')
for _, reason in ipairs(redis.call('SMEMBERS', P .. 'parked')) do
  if string.sub(reason, 1, 9) == '@suspect:' then answer[6] = answer[6] + redis.call('ZCARD', P .. 'parked:' .. reason) end
end
for i = 3, #ARGV do
  if redis.call('HEXISTS', P .. 'workers', ARGV[i]) == 1 then
    redis.call('HINCRBY', P .. 'beats', ARGV[i], 1)
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = 0
  end
end
return answer
