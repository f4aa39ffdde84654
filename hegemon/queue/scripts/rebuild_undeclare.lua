-- Take back declared claims that MongoDB does not bear out. KEYS[1] prefix. ARGV: epoch, generation, worker, ids ...
-- Returns {'ok'} or the refusal of a marker that is not this rebuild's.
local P = KEYS[1]
local marker = redis.call('HMGET', P .. 'marker', 'epoch', 'generation', 'state')
if not marker[1] then return {'absent'} end
if tonumber(marker[1]) > tonumber(ARGV[1]) then return {'newer'} end
if marker[1] ~= ARGV[1] or marker[2] ~= ARGV[2] or marker[3] ~= 'indexing' then return {'older'} end
for i = 4, #ARGV do redis.call('HDEL', P .. 'held:' .. ARGV[3], ARGV[i]) end
return {'ok'}
