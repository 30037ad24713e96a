-- Write the record of a run again, after the store lost it. ARGV: owner, lease in ms, fence, run id as JSON, started,
-- 1 if there is a key, the key.
local owner, lease, fence, run_id, started = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
insert(fence, run_id, ARGV[6] == '1' and ARGV[7], owner, started, 0)
if tonumber(fence) > tonumber(redis.call('HGET', clock, 'fence') or 0) then
  redis.call('HSET', clock, 'fence', fence)
end
renew(owner, lease)
ring('began ' .. owner .. ' ' .. fence)
