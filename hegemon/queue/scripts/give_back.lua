-- Return jobs that a worker holds but has not started to their places in the ready lists.
-- KEYS[1] prefix. ARGV: generation, worker, '1' to give back its inbox too, ids ...
-- Returns {'ok', returned}.
--#include worker
--#include place
local entries = {}
if ARGV[3] == '1' then
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
end
for i = 4, #ARGV do
  local entry = redis.call('HGET', P .. 'held:' .. W, ARGV[i])
  if entry then
    redis.call('HDEL', P .. 'held:' .. W, ARGV[i])
    entries[#entries + 1] = entry
  end
end
restore(entries)
wake('wake')
return {'ok', #entries}
