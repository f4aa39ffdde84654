-- A worker's one round trip: acknowledge what has been recorded, then take the next from its own inbox, bodies along.
-- KEYS[1] prefix. ARGV: generation, worker, want, window, number of acks, then for each: id, attempt.
-- The window is how many jobs the worker can make use of holding; the leader gives it no more.
-- Returns {'ok', {'id:attempt' cancelled, ...}, entry, body, entry, body, ...}. Entries that meet a tombstone or a later body go.
-- An entry without a body leaves the index without a known end: its id goes on the check list.
--#include worker
--#include place
local acks = tonumber(ARGV[5])
for first = 6, 5 + 2 * acks, 4000 do
  local ids = {}
  for i = first, math.min(first + 3999, 5 + 2 * acks), 2 do ids[#ids + 1] = ARGV[i] end
  -- Each by its attempt: a job may have been requeued by hand while its acknowledgement waited. A claim that stands
  -- answers for its body too (`index_add` ends it where it puts a later one).
  local held = redis.call('HMGET', P .. 'held:' .. W, unpack(ids))
  local done = {}
  for k, id in ipairs(ids) do
    local attempt = ARGV[first + 2 * k - 1]
    if held[k] then
      if string.sub(held[k], 38, 38 + #attempt) == attempt .. ':' then done[#done + 1] = id end
    else
      local body = redis.call('HGET', P .. 'bodies', id)
      if body and string.sub(body, 1, #attempt + 1) == attempt .. ':' then redis.call('HDEL', P .. 'bodies', id) end
    end
  end
  if #done > 0 then
    redis.call('HDEL', P .. 'held:' .. W, unpack(done))
    redis.call('HDEL', P .. 'bodies', unpack(done))
  end
end
redis.call('HSET', P .. 'window', W, ARGV[4])
if acks > 0 then wake('wake') end
local want = tonumber(ARGV[3])
local answer = {'ok', redis.call('SMEMBERS', P .. 'cancels:' .. W)}
if #answer[2] > 0 then redis.call('DEL', P .. 'cancels:' .. W) end
local priority = 10
while want > 0 and priority >= 0 do
  local entries = redis.call('LPOP', P .. 'inbox:' .. W .. ':' .. priority, math.min(want, 2000))
  if not entries or #entries == 0 then
    priority = priority - 1
  else
    want = want - #entries
    local ids = {}
    for k, entry in ipairs(entries) do ids[k] = string.sub(entry, 1, 36) end
    local bodies = redis.call('HMGET', P .. 'bodies', unpack(ids))
    for k, entry in ipairs(entries) do
      local body = bodies[k]
      local attempt = string.match(entry, '^[^:]+:(%d+):')
      if body and string.sub(body, 1, #attempt + 1) == attempt .. ':' then
        answer[#answer + 1] = entry
        answer[#answer + 1] = body
      else
        if redis.call('HGET', P .. 'held:' .. W, ids[k]) == entry then redis.call('HDEL', P .. 'held:' .. W, ids[k]) end
        local current = body and tonumber(string.match(body, '^(%d+):'))
        if not body or (current and current < tonumber(attempt)) then redis.call('SADD', P .. 'check', ids[k]) end
      end
    end
  end
end
return answer
