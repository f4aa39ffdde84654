-- Fence of every worker's script: the index is whole and of the generation that the worker knows, its incarnation open.
-- KEYS[1] the key prefix; ARGV[1] generation; ARGV[2] worker incarnation.
local P = KEYS[1]
local W = ARGV[2]
do
  local marker = redis.call('HMGET', P .. 'marker', 'generation', 'state')
  if marker[1] ~= ARGV[1] or marker[2] ~= 'ready' then return {'refused'} end
  if redis.call('HEXISTS', P .. 'workers', W) == 0 then return {'closed'} end
end
