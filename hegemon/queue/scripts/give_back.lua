-- Return jobs that a worker holds but has not started to their places in the ready lists.
-- KEYS[1] prefix. ARGV: generation, worker, '1' to give back its inbox too, ids ...
-- Returns {'ok', returned}.
--#include worker
--#include place
--#include inbox
local entries = ARGV[3] == '1' and empty_inbox(W) or {}
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
