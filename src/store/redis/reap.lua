-- End the runs of dead owners. ARGV: the owner that checks, ms for which an owner without a lease is only suspected, ms
-- that a finished run is kept, the terminal event before and after the run id, the error, maximum number of runs to
-- end, then fences of runs whose owners to check; none for all.
-- Never at the first check: a clock that jumps, or a server that was down, expires the leases of live owners, which
-- renew them meanwhile. Returns the number of runs ended.
local self, grace, age = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local head, tail, why, most = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])

local owners, wanted = {}, {}
if #ARGV == 7 then
  owners = redis.call('SMEMBERS', key('owners'))
else
  for at = 8, #ARGV do
    local record = redis.call('HMGET', key('run', ARGV[at]), 'status', 'owner')
    if record[1] == 'running' then
      if not wanted[record[2]] then
        wanted[record[2]] = {}
        owners[#owners + 1] = record[2]
      end
      table.insert(wanted[record[2]], ARGV[at])
    end
  end
end

local function has_died(owner)
  if owner == self or redis.call('EXISTS', key('lease', owner)) == 1 then
    return false
  end
  local since, time = tonumber(redis.call('HGET', key('suspects'), owner) or ''), now()
  if not since or since > time then
    redis.call('HSET', key('suspects'), owner, text(time))
    return false
  end
  return time - since >= grace
end

local ended = {}
for _, owner in ipairs(owners) do
  if #ended < most and has_died(owner) then
    -- First the runs that somebody waits for, then any.
    local runs = wanted[owner] or {}
    for _, fence in ipairs(redis.call('SRANDMEMBER', key('runs-of', owner), most - #ended)) do
      runs[#runs + 1] = fence
    end
    for _, fence in ipairs(runs) do
      if #ended == most then
        break
      end
      if interrupt(owner, fence, head, tail, why, age) then
        ended[#ended + 1] = fence
      end
    end
    -- The records may be gone when the owner continues: what it had begun by now must not return with it.
    redis.call('SET', key('dead', owner), redis.call('HGET', clock, 'fence'), 'PX', text(age + DAY))
    if redis.call('EXISTS', key('runs-of', owner)) == 0 then
      redis.call('SREM', key('owners'), owner)
      redis.call('HDEL', key('suspects'), owner)
    end
  end
end
ring_runs(self, ended)
return #ended
