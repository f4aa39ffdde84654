-- The holder moves its counter, keeps the cluster clock from falling, and learns whether it is still the holder.
-- KEYS[1] prefix. ARGV: epoch, generation. Returns {'ok', now ms} or the fence's refusal.
--#include leader
--#include time
local now = now_ms()
redis.call('HSET', P .. 'marker', 'clock', string.format('%d', now))
redis.call('HINCRBY', P .. 'office', 'beat', 1)
return {'ok', now}
