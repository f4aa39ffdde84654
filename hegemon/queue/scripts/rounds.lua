-- What the leader looks at in each round of its slower duties. KEYS[1] prefix. ARGV: epoch, generation, now ms - patience.
-- Returns {'ok', {incarnation, beat, ...}, {worker, information, ...}, {worker, death report, ...}, {parked reason, n, ...},
--          {id, mark worker|entry, ...} of recovering (at most 500), {id, ...} of check (at most 500),
--          {id, since ms, ...} of tombstones older than the patience (at most 500), {node incarnation, information, ...}}.
--#include leader
local parked = {}
for _, reason in ipairs(redis.call('SMEMBERS', P .. 'parked')) do
  parked[#parked + 1] = reason
  parked[#parked + 1] = redis.call('ZCARD', P .. 'parked:' .. reason)
end
-- One page of a scan may be empty though the hash is not.
local few, cursor = {}, '0'
repeat
  local page = redis.call('HSCAN', P .. 'recovering', cursor, 'COUNT', 500)
  cursor = page[1]
  for i = 1, #page[2] do
    if #few < 1000 then few[#few + 1] = page[2][i] end
  end
until cursor == '0' or #few >= 1000
return {
  'ok',
  redis.call('HGETALL', P .. 'beats'),
  redis.call('HGETALL', P .. 'workers'),
  redis.call('HGETALL', P .. 'dead'),
  parked,
  few,
  redis.call('SRANDMEMBER', P .. 'check', 500),
  redis.call('ZRANGEBYSCORE', P .. 'tombstones', '-inf', ARGV[3], 'WITHSCORES', 'LIMIT', 0, 500),
  redis.call('HGETALL', P .. 'nodes'),
}
