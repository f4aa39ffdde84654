-- Return what a worker has not taken to its places in the ready lists. A claim begins with `take`, so nobody has started
-- any of it, and the attempt stays. Its window shrinks to what it has taken: it gets no more until it takes again.
-- KEYS[1] prefix. ARGV: epoch, generation, worker. Returns {'ok', returned}.
--#include leader
--#include place
local W, entries = ARGV[3], {}
for priority = 0, 10 do
  local key = P .. 'inbox:' .. W .. ':' .. priority
  for _, entry in ipairs(redis.call('LRANGE', key, 0, -1)) do
    local id = string.sub(entry, 1, 36)
    if redis.call('HGET', P .. 'held:' .. W, id) == entry then
      redis.call('HDEL', P .. 'held:' .. W, id)
      entries[#entries + 1] = entry
    end
  end
  redis.call('DEL', key)
end
if redis.call('HEXISTS', P .. 'window', W) == 1 then
  redis.call('HSET', P .. 'window', W, redis.call('HLEN', P .. 'held:' .. W))
end
restore(entries)
wake('wake')
return {'ok', #entries}
