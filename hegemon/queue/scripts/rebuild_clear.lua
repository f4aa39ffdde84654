-- Delete keys of the old index. KEYS[1] prefix. ARGV: epoch, generation, keys ...
-- Only while the marker is exactly the caller's and says `rebuilding`: whoever was stopped here must not delete later what
-- another has built. Returns {'ok'} or the refusal.
local P = KEYS[1]
local marker = redis.call('HMGET', P .. 'marker', 'epoch', 'generation', 'state')
if not marker[1] then return {'absent'} end
if tonumber(marker[1]) > tonumber(ARGV[1]) then return {'newer'} end
if marker[1] ~= ARGV[1] or marker[2] ~= ARGV[2] or marker[3] ~= 'rebuilding' then return {'older'} end
for i = 3, #ARGV do redis.call('UNLINK', ARGV[i]) end
return {'ok'}
