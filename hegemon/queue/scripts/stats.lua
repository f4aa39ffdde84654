-- Counts of the index for people. KEYS[1] prefix. No ARGV.
-- Returns {ready, delayed, held, {parked reason, n, ...}, {worker, information, held, ...}, {node incarnation, information, beat, ...}}.
local P = KEYS[1]
local ready = 0
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  for priority = 0, 10 do ready = ready + redis.call('LLEN', P .. 'ready:' .. queue .. ':' .. priority) end
end
local held, workers, parked, nodes = redis.call('HLEN', P .. 'recovering'), {}, {}, {}
local known = redis.call('HGETALL', P .. 'workers')
for i = 1, #known, 2 do
  local n = redis.call('HLEN', P .. 'held:' .. known[i])
  held = held + n
  workers[#workers + 1] = known[i]
  workers[#workers + 1] = known[i + 1]
  workers[#workers + 1] = n
end
for _, reason in ipairs(redis.call('SMEMBERS', P .. 'parked')) do
  parked[#parked + 1] = reason
  parked[#parked + 1] = redis.call('ZCARD', P .. 'parked:' .. reason)
end
local members = redis.call('HGETALL', P .. 'nodes')
for i = 1, #members, 2 do
  nodes[#nodes + 1] = members[i]
  nodes[#nodes + 1] = members[i + 1]
  nodes[#nodes + 1] = tonumber(redis.call('HGET', P .. 'beats', members[i]) or '0')
end
return {ready, redis.call('ZCARD', P .. 'delayed'), held, parked, workers, nodes}
