-- Fence of every leader's script: passes only if the marker is exactly the caller's own and the index is whole.
-- KEYS[1] the key prefix "hegemon:{cluster}:"; ARGV[1] epoch; ARGV[2] generation.
local P = KEYS[1]
do
  local marker = redis.call('HMGET', P .. 'marker', 'epoch', 'generation', 'state')
  if not marker[1] then return {'absent'} end
  if tonumber(marker[1]) > tonumber(ARGV[1]) then return {'newer'} end
  if marker[1] ~= ARGV[1] or marker[2] ~= ARGV[2] or marker[3] ~= 'ready' then return {'older'} end
end
