-- Entries: `id:attempt:seq:priority:flags:queue:type`. Lua's unpack takes fewer than 8,000 values: chunk everything.
local function place_of(entry)
  local seq, priority, queue = string.match(entry, '^[^:]+:%d+:(%d+):(%d+):[^:]*:([^:]+):')
  return queue .. ':' .. priority, tonumber(seq)
end

local function chunked(command, key, values, step)
  for first = 1, #values, step do
    redis.call(command, key, unpack(values, first, math.min(first + step - 1, #values)))
  end
end

-- Append entries to the tails of their ready lists, in the order given.
local function append(entries)
  local lists = {}
  for _, entry in ipairs(entries) do
    local place = place_of(entry)
    local list = lists[place]
    if not list then
      list = {}
      lists[place] = list
      redis.call('SADD', P .. 'queues', string.match(place, '^[^:]+'))
    end
    list[#list + 1] = entry
  end
  for place, list in pairs(lists) do chunked('RPUSH', P .. 'ready:' .. place, list, 4000) end
end

-- Return entries to their places: merge them by seq into the heads of their ready lists. What comes back was near the
-- head when it left, so few entries are moved; after 2,000 the rest goes on top of what has not been looked at.
local function restore(entries)
  local lists = {}
  for _, entry in ipairs(entries) do
    local place, seq = place_of(entry)
    lists[place] = lists[place] or {}
    table.insert(lists[place], {seq, entry})
  end
  for place, back in pairs(lists) do
    local key = P .. 'ready:' .. place
    redis.call('SADD', P .. 'queues', string.match(place, '^[^:]+'))
    table.sort(back, function(a, b) return a[1] < b[1] end)
    local merged, moved = {}, 0
    for _, pair in ipairs(back) do
      while moved < 2000 do
        local head = redis.call('LINDEX', key, 0)
        if not head then break end
        local _, seq = place_of(head)
        if seq >= pair[1] then break end
        redis.call('LPOP', key)
        merged[#merged + 1] = head
        moved = moved + 1
      end
      merged[#merged + 1] = pair[2]
    end
    local reversed = {}
    for i = #merged, 1, -1 do reversed[#reversed + 1] = merged[i] end
    chunked('LPUSH', key, reversed, 4000)
  end
end

-- Wake whoever blocks on this list; one token is enough.
local function wake(key)
  if redis.call('LLEN', P .. key) == 0 then redis.call('RPUSH', P .. key, '1') end
end
