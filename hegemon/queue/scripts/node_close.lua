-- Close a dead node's incarnation: a group that it sent and that arrives late is refused. KEYS[1] prefix.
-- ARGV: epoch, generation, node incarnation. Returns {'ok'}.
--#include leader
redis.call('HSET', P .. 'groups', ARGV[3], 'closed')
redis.call('HDEL', P .. 'nodes', ARGV[3])
redis.call('HDEL', P .. 'beats', ARGV[3])
return {'ok'}
