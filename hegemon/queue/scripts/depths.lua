-- What waits where, by queue, for people. KEYS[1] prefix. ARGV: how many entries of the delayed set, and of the parked sets
-- together, to look at for their queues.
-- Returns {now ms, delayed, delayed looked at, parked, parked looked at,
--          {queue, ready, delayed among those, held, parked among those, seq of the oldest ready or parked or '', ...}}.
local P = KEYS[1]
--#include time
local most = tonumber(ARGV[1])
local names, rows = {}, {}
local function row_of(queue)
  local row = rows[queue]
  if not row then
    row = {0, 0, 0, 0, ''}
    rows[queue] = row
    names[#names + 1] = queue
  end
  return row
end
local function parts(entry)
  local seq, queue = string.match(entry, '^[^:]+:%d+:(%d+):%d+:[^:]*:([^:]+):')
  return queue, seq
end
local function older(row, seq)
  if row[5] == '' or tonumber(seq) < tonumber(row[5]) then row[5] = seq end
end
local function count(entries, column)
  for _, entry in ipairs(entries) do
    local queue, seq = parts(entry)
    local row = row_of(queue)
    row[column] = row[column] + 1
    if column == 4 then older(row, seq) end
  end
end

for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  local row = row_of(queue)
  for priority = 0, 10 do
    local key = P .. 'ready:' .. queue .. ':' .. priority
    local n = redis.call('LLEN', key)
    if n > 0 then
      row[1] = row[1] + n
      local _, seq = parts(redis.call('LINDEX', key, 0))
      older(row, seq)
    end
  end
end
local delayed = redis.call('ZRANGE', P .. 'delayed', 0, most - 1)
count(delayed, 2)
for _, worker in ipairs(redis.call('HKEYS', P .. 'workers')) do
  local held = redis.call('HGETALL', P .. 'held:' .. worker)
  for i = 2, #held, 2 do
    local queue = parts(held[i])
    local row = row_of(queue)
    row[3] = row[3] + 1
  end
end
local parked, looked = 0, 0
for _, reason in ipairs(redis.call('SMEMBERS', P .. 'parked')) do
  local key = P .. 'parked:' .. reason
  parked = parked + redis.call('ZCARD', key)
  local entries = redis.call('ZRANGE', key, 0, math.max(most - looked, 1) - 1)
  looked = looked + #entries
  count(entries, 4)
end
local flat = {}
for _, queue in ipairs(names) do
  flat[#flat + 1] = queue
  for column = 1, 5 do flat[#flat + 1] = rows[queue][column] end
end
return {now_ms(), redis.call('ZCARD', P .. 'delayed'), #delayed, parked, looked, flat}
