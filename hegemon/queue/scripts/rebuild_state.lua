-- Begin a rebuild, or move it on. KEYS[1] prefix.
-- ARGV: epoch, generation, state ('rebuilding' | 'declaring' | 'indexing' | 'ready'), run id, cluster, layout, node, clock ms.
-- 'rebuilding' creates the marker or takes it over; the others need the marker to be exactly the caller's rebuild.
-- Returns {'ok'} | {'absent'} | {'older'} | {'newer'}.
local P = KEYS[1]
local marker = redis.call('HMGET', P .. 'marker', 'epoch', 'generation', 'clock')
if marker[1] and tonumber(marker[1]) > tonumber(ARGV[1]) then return {'newer'} end
-- A try that was given up begins late: a later one has its marker there.
if marker[1] == ARGV[1] and tonumber(marker[2]) > tonumber(ARGV[2]) then return {'older'} end
if ARGV[3] ~= 'rebuilding' then
  if not marker[1] then return {'absent'} end
  if marker[1] ~= ARGV[1] or marker[2] ~= ARGV[2] then return {'older'} end
end
local clock = marker[3] or '0'
if tonumber(ARGV[8]) > tonumber(clock) then clock = ARGV[8] end
redis.call('HSET', P .. 'marker', 'epoch', ARGV[1], 'generation', ARGV[2], 'state', ARGV[3], 'run_id', ARGV[4],
  'cluster', ARGV[5], 'layout', ARGV[6], 'holder', ARGV[7], 'clock', clock)
redis.call('HINCRBY', P .. 'marker', 'moves', 1)  -- the holder's life sign, while it has no counter
return {'ok'}
