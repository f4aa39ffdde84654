-- Open a worker's incarnation. KEYS[1] prefix. ARGV: generation, worker, information (JSON), window.
-- Returns {'ok'} or {'refused'}. An incarnation that was once closed is never opened again.
--#include member
--#include place
if redis.call('ZSCORE', P .. 'closed', ARGV[2]) then return {'closed'} end
redis.call('HSET', P .. 'workers', ARGV[2], ARGV[3])
redis.call('HSET', P .. 'window', ARGV[2], ARGV[4])
redis.call('HINCRBY', P .. 'beats', ARGV[2], 1)
wake('wake')
return {'ok'}
