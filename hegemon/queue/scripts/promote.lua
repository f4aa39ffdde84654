-- Move what is due from the delayed set to the ready lists, in order of due time.
-- KEYS[1] prefix. ARGV: epoch, generation, at most n.
-- Returns {'ok', now ms, due ms of the next one or '', entry, ...}.
--#include leader
--#include place
--#include time
local now = now_ms()
local entries = redis.call('ZRANGEBYSCORE', P .. 'delayed', '-inf', now, 'LIMIT', 0, ARGV[3])
if #entries > 0 then
  chunked('ZREM', P .. 'delayed', entries, 4000)
  append(entries)
end
local first = redis.call('ZRANGE', P .. 'delayed', 0, 0, 'WITHSCORES')
local answer = {'ok', now, first[2] or ''}
for _, entry in ipairs(entries) do answer[#answer + 1] = entry end
return answer
