-- Return parked entries to their places, oldest first.
-- KEYS[1] prefix. ARGV: epoch, generation, reason, at most n. Returns {'ok', returned, still parked}.
--#include leader
--#include place
local key = P .. 'parked:' .. ARGV[3]
local popped = redis.call('ZPOPMIN', key, ARGV[4])
local entries = {}
for i = 1, #popped, 2 do entries[#entries + 1] = popped[i] end
restore(entries)
local left = redis.call('ZCARD', key)
if left == 0 then redis.call('SREM', P .. 'parked', ARGV[3]) end
return {'ok', #entries, left}
