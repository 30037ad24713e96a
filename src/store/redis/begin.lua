-- Begin a life of a run. ARGV: owner, lease in ms, ms that a finished run is kept, run id as JSON or '' for a new
-- number, 1 if there is a key, the key, 1 if there is a name, the name.
-- Returns 'started', or 'run' or 'key' if that id or key has a running run; then the fence and the record; and 0 if this
-- renewed an expired lease, else 1.
local owner, lease, age, run_id = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local run_key, name = ARGV[5] == '1' and ARGV[6], ARGV[7] == '1' and ARGV[8]

if run_id == '' then
  run_id = next_number('run_id')
end
local before = redis.call('GET', key('id', run_id))
if before and is_running(before) then
  return {'run', before, record_of(before), 1}
end
local active = run_key and redis.call('GET', key('key', run_key))
if active and is_running(active) then
  return {'key', active, record_of(active), 1}
end

-- New numbers are not counted from those that Lua cannot represent exactly.
local number = tonumber(run_id)
if number and number < 2 ^ 52 and number > tonumber(redis.call('HGET', clock, 'run_id') or 0) then
  redis.call('HSET', clock, 'run_id', run_id)
end
local fence = next_number('fence')
if before then
  -- Lists contain only the newest life.
  redis.call('ZREM', key('all'), before)
  redis.call('HDEL', texts, before)
end
local had_lease = renew(owner, lease)
insert(fence, run_id, run_key, name, owner, text(now()), age)
ring('began ' .. owner .. ' ' .. fence)
return {'started', fence, record_of(fence), had_lease}
