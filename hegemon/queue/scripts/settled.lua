-- Take ids off `recovering` that need nothing: a later attempt of theirs is in the index. KEYS[1] prefix.
-- ARGV: epoch, generation, ids ... Returns {'ok'}.
--#include leader
for i = 3, #ARGV do redis.call('HDEL', P .. 'recovering', ARGV[i]) end
return {'ok'}
