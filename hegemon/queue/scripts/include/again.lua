-- Attempts that came into the index beyond a job's first: none comes in twice, nor an earlier one after it. A command may
-- be applied long after its sender gave it up; by then what it brings may have run to its end, and left. Kept by id for 10
-- to 20 minutes, or until 100,000 later ones are.
local any_again = redis.call('EXISTS', P .. 'again', P .. 'again:before') > 0

local function last_again(id)
  if not any_again then return 0 end
  return tonumber(redis.call('HGET', P .. 'again', id) or redis.call('HGET', P .. 'again:before', id) or '0')
end

local function note_again(id, attempt)
  redis.call('HSET', P .. 'again', id, attempt)
  any_again = true
end

-- Once in a script that has noted something: forget the oldest.
local function forget_again(now)
  local since = redis.call('GET', P .. 'again:since')
  if since and now - tonumber(since) < 600000 and redis.call('HLEN', P .. 'again') < 100000 then return end
  if since then redis.call('RENAME', P .. 'again', P .. 'again:before') end
  redis.call('SET', P .. 'again:since', string.format('%d', now))
end

-- An attempt is put over an earlier one: whoever still holds that holds nothing any more.
local function end_claims(id, attempt)
  for _, w in ipairs(redis.call('HKEYS', P .. 'workers')) do
    local held = redis.call('HGET', P .. 'held:' .. w, id)
    if held and tonumber(string.match(held, '^[^:]+:(%d+):')) < attempt then redis.call('HDEL', P .. 'held:' .. w, id) end
  end
end

-- The attempt of what stands in the index, body or tombstone; 0: nothing.
local function attempt_of(body) return body and tonumber(string.match(body, '^t?:?(%d+)')) or 0 end
