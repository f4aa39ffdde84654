-- What a bystander sees of the office: unfenced, so that it also works while the index is rebuilt.
-- KEYS[1] prefix. No ARGV. Returns {epoch or '', holder's node or '', holder's counter or '', steps of rebuilds or ''}.
local P = KEYS[1]
local marker = redis.call('HMGET', P .. 'marker', 'epoch', 'holder', 'moves')
return {marker[1] or '', marker[2] or '', redis.call('HGET', P .. 'office', 'beat') or '', marker[3] or ''}
