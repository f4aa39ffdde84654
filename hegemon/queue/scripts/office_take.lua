-- Raise the epoch in an existing marker to that of a new office. Only a rebuild creates a marker.
-- KEYS[1] prefix. ARGV: epoch, generation, node. Returns {'ok'} | {'absent'} | {'older'} | {'newer'}.
local P = KEYS[1]
local marker = redis.call('HMGET', P .. 'marker', 'epoch', 'generation', 'state')
if not marker[1] then return {'absent'} end
if tonumber(marker[1]) > tonumber(ARGV[1]) then return {'newer'} end
if marker[2] ~= ARGV[2] or marker[3] ~= 'ready' then return {'older'} end
redis.call('HSET', P .. 'marker', 'epoch', ARGV[1], 'holder', ARGV[3])
return {'ok'}
