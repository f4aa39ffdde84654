-- Fence of scripts that any node may call: the index is whole and of the generation that the caller knows.
-- KEYS[1] the key prefix; ARGV[1] generation.
local P = KEYS[1]
do
  local marker = redis.call('HMGET', P .. 'marker', 'generation', 'state')
  if marker[1] ~= ARGV[1] or marker[2] ~= 'ready' then return {'refused'} end
end
