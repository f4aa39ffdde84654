-- Return jobs that a worker holds but has not started to their places in the ready lists.
-- KEYS[1] prefix. ARGV: generation, worker, number of the call, '1' to give back its inbox too, ids ...
-- Returns {'ok', returned}.
--#include worker
--#include turn
--#include place
--#include inbox
local entries = ARGV[4] == '1' and empty_inbox(W) or {}
for i = 5, #ARGV do
  local entry = redis.call('HGET', P .. 'held:' .. W, ARGV[i])
  if entry then
    redis.call('HDEL', P .. 'held:' .. W, ARGV[i])
    entries[#entries + 1] = entry
  end
end
restore(entries)
wake('wake')
return {'ok', #entries}
