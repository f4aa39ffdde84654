-- Second half, once MongoDB says cancelled: tell the worker that holds the job. KEYS[1] prefix.
-- ARGV: generation, worker, id. Returns {'ok'}.
--#include member
--#include place
if redis.call('HEXISTS', P .. 'workers', ARGV[2]) == 1 then
  redis.call('SADD', P .. 'cancels:' .. ARGV[2], ARGV[3])
  wake('wake:' .. ARGV[2])
end
return {'ok'}
