-- The cluster clock in ms: Redis TIME, but never behind what the marker has seen (a store's clock may be set back).
local function now_ms()
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  local seen = tonumber(redis.call('HGET', P .. 'marker', 'clock') or '0')
  if seen > now then return seen end
  return now
end
