-- A supervisor reports the death of its worker process, so that nobody waits for a lease. KEYS[1] prefix.
-- ARGV: generation, worker, report (JSON). Returns {'ok'}.
--#include member
--#include place
if redis.call('HEXISTS', P .. 'workers', ARGV[2]) == 1 then
  redis.call('HSET', P .. 'dead', ARGV[2], ARGV[3])
  wake('wake')
end
return {'ok'}
