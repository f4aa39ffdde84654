-- A worker leaves in order: its incarnation is closed by itself. KEYS[1] prefix. ARGV: generation, worker, now ms.
-- What it still holds moves to `recovering`, as innocent as what was never taken. Returns {'ok', moved}.
--#include worker
local held = redis.call('HGETALL', P .. 'held:' .. W)
for i = 1, #held, 2 do redis.call('HSET', P .. 'recovering', held[i], 'i' .. W .. '|' .. held[i + 1]) end
for priority = 0, 10 do redis.call('DEL', P .. 'inbox:' .. W .. ':' .. priority) end
redis.call('DEL', P .. 'held:' .. W, P .. 'wake:' .. W, P .. 'cancels:' .. W)
for _, key in ipairs({'workers', 'window', 'beats', 'turns', 'dead'}) do redis.call('HDEL', P .. key, W) end
redis.call('ZADD', P .. 'closed', ARGV[3], W)
return {'ok', #held / 2}
