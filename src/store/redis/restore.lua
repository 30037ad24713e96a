-- Write the record of a run again after the store lost it. ARGV: owner, lease in ms, ms that a finished run is kept,
-- fence, run id as JSON, start time, 1 if there is a key, the key, 1 if there is a name, the name.
-- Returns 1, or 0 if the run cannot continue: its owner was declared dead, or another run has its id or key by now; and
-- 0 if this renewed an expired lease, else 1.
local owner, lease, age, fence, run_id, started = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local run_key, name = ARGV[7] == '1' and ARGV[8], ARGV[9] == '1' and ARGV[10]

if redis.call('EXISTS', key('run', fence)) == 0 then
  local dead, newest = redis.call('GET', key('dead', owner)), redis.call('GET', key('id', run_id))
  local active = run_key and redis.call('GET', key('key', run_key))
  if
    (dead and tonumber(fence) <= tonumber(dead))
    or (newest and tonumber(fence) < tonumber(newest))
    or (active and active ~= fence and is_running(active))
  then
    return {0, 1}
  end
end
insert(fence, run_id, run_key, name, owner, started, age)
if tonumber(fence) > tonumber(redis.call('HGET', clock, 'fence') or 0) then
  redis.call('HSET', clock, 'fence', fence)
end
local had_lease = renew(owner, lease)
ring('began ' .. owner .. ' ' .. fence)
return {1, had_lease}
