-- During a rebuild: a live worker says under the new generation what it holds, so that those claims stand.
-- KEYS[1] prefix. ARGV: generation of the rebuild, worker, information (JSON), window, then id, entry, ...
-- Returns {'ok'}, or {'refused'} when the rebuild takes no more declarations.
local P = KEYS[1]
local marker = redis.call('HMGET', P .. 'marker', 'generation', 'state')
if marker[1] ~= ARGV[1] or marker[2] ~= 'declaring' then return {'refused'} end
redis.call('HSET', P .. 'workers', ARGV[2], ARGV[3])
redis.call('HSET', P .. 'window', ARGV[2], ARGV[4])
redis.call('HINCRBY', P .. 'beats', ARGV[2], 1)
redis.call('DEL', P .. 'held:' .. ARGV[2])
for first = 5, #ARGV, 4000 do
  redis.call('HSET', P .. 'held:' .. ARGV[2], unpack(ARGV, first, math.min(first + 3999, #ARGV)))
end
return {'ok'}
