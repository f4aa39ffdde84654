-- Return what a worker has not taken to its places in the ready lists, under the same attempts. Its window shrinks to
-- what it has taken: it gets no more until it takes again.
-- KEYS[1] prefix. ARGV: epoch, generation, worker. Returns {'ok', returned}.
--#include leader
--#include place
--#include inbox
local W = ARGV[3]
local entries = empty_inbox(W)
if redis.call('HEXISTS', P .. 'window', W) == 1 then
  redis.call('HSET', P .. 'window', W, redis.call('HLEN', P .. 'held:' .. W))
end
restore(entries)
wake('wake')
return {'ok', #entries}
