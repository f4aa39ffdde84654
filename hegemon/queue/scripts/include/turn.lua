-- A worker numbers the calls by which it lets claims go or takes them up again (ARGV[3]): one that comes after a later one
-- is not applied, since what it speaks of may have been taken up again, and run.
do
  if tonumber(ARGV[3]) <= tonumber(redis.call('HGET', P .. 'turns', W) or '0') then return {'ok', 0} end
  redis.call('HSET', P .. 'turns', W, ARGV[3])
end
