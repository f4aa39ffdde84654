-- Empty a worker's inbox, and let go of what lay in it: its entries. A claim begins with `take`, so nobody has started any.
local function empty_inbox(worker)
  local entries = {}
  for priority = 0, 10 do
    local key = P .. 'inbox:' .. worker .. ':' .. priority
    for _, entry in ipairs(redis.call('LRANGE', key, 0, -1)) do
      local id = string.sub(entry, 1, 36)
      if redis.call('HGET', P .. 'held:' .. worker, id) == entry then
        redis.call('HDEL', P .. 'held:' .. worker, id)
        entries[#entries + 1] = entry
      end
    end
    redis.call('DEL', key)
  end
  return entries
end
