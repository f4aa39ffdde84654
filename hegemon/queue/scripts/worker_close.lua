-- Close a worker's incarnation for good and move what it held to `recovering`. It gets nothing, can take nothing.
-- KEYS[1] prefix. ARGV: epoch, generation, worker, now ms, mark for what it had taken, then id, mark, ... for exceptions.
-- `recovering` keeps per id a mark (see cluster.recovery), the worker and the entry; 'i': it still lay in the inbox.
-- Returns {'ok', moved}.
--#include leader
local W = ARGV[3]
local waiting = {}
for priority = 0, 10 do
  local key = P .. 'inbox:' .. W .. ':' .. priority
  for _, entry in ipairs(redis.call('LRANGE', key, 0, -1)) do waiting[string.sub(entry, 1, 36)] = true end
  redis.call('DEL', key)
end
local marks = {}
for i = 6, #ARGV, 2 do marks[ARGV[i]] = ARGV[i + 1] end
local held = redis.call('HGETALL', P .. 'held:' .. W)
for i = 1, #held, 2 do
  redis.call('HSET', P .. 'recovering', held[i], (waiting[held[i]] and 'i' or marks[held[i]] or ARGV[5]) .. W .. '|' .. held[i + 1])
end
redis.call('DEL', P .. 'held:' .. W, P .. 'wake:' .. W, P .. 'cancels:' .. W)
for _, key in ipairs({'workers', 'window', 'beats', 'turns'}) do redis.call('HDEL', P .. key, W) end
redis.call('ZADD', P .. 'closed', ARGV[4], W)
redis.call('ZREMRANGEBYSCORE', P .. 'closed', '-inf', tonumber(ARGV[4]) - 86400000)
redis.call('HDEL', P .. 'dead', W)
return {'ok', #held / 2}
