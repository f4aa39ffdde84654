-- A node leaves in order: all that it accepted is indexed, and it sends no more. KEYS[1] prefix.
-- ARGV: generation, node incarnation. Returns {'ok'}.
--#include member
redis.call('HSET', P .. 'groups', ARGV[2], 'closed')
redis.call('HDEL', P .. 'nodes', ARGV[2])
redis.call('HDEL', P .. 'beats', ARGV[2])
return {'ok'}
