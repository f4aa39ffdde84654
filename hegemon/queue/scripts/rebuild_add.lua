-- Index documents during a rebuild, in the order of seq. KEYS[1] prefix.
-- ARGV: epoch, generation, then for each: entry, body, place: '' ready, due ms delayed, '@worker' held by its declaration.
-- Returns {'ok', added} or the refusal of a marker that is not this rebuild's.
local P = KEYS[1]
--#include place
local marker = redis.call('HMGET', P .. 'marker', 'epoch', 'generation', 'state')
if not marker[1] then return {'absent'} end
if tonumber(marker[1]) > tonumber(ARGV[1]) then return {'newer'} end
if marker[1] ~= ARGV[1] or marker[2] ~= ARGV[2] or marker[3] ~= 'indexing' then return {'older'} end
local ready, added = {}, 0
for i = 3, #ARGV, 3 do
  local entry, where = ARGV[i], ARGV[i + 2]
  if redis.call('HSETNX', P .. 'bodies', string.sub(entry, 1, 36), ARGV[i + 1]) == 1 then
    added = added + 1
    if where == '' then
      ready[#ready + 1] = entry
    elseif string.sub(where, 1, 1) ~= '@' then
      redis.call('ZADD', P .. 'delayed', where, entry)
    end
  end
end
append(ready)
redis.call('HINCRBY', P .. 'marker', 'moves', 1)
return {'ok', added}
