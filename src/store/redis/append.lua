-- Store events of runs. ARGV: owner, ms that a finished run is kept, number of runs, then for each: fence, last seq,
-- 1 if it ended, and if so status, error, result and its kind, where an empty error or result is none; number of events,
-- and for each: seq, name or '', JSON.
-- Returns for each run: 'stored', 'unknown', or 'refused' if it has ended. What is stored already is left out, so that
-- everything can be tried again.
local owner, age, fates, changed, at = ARGV[1], tonumber(ARGV[2]), {}, {}, 4
local all_bytes = 0

local function take()
  at = at + 1
  return ARGV[at - 1]
end

for number = 1, tonumber(ARGV[3]) do
  local fence, last, ended = take(), tonumber(take()), take() == '1'
  local end_status, end_error, end_result, end_kind
  if ended then
    end_status, end_error, end_result, end_kind = take(), take(), take(), take()
  end
  local run, events = key('run', fence), key('events', fence)
  local record = redis.call('HMGET', run, 'status', 'owner', 'last', 'end_fence', 'bytes')
  local is_writable = record[1] == 'running' and record[2] == owner
  if is_writable then
    fates[number] = 'stored'
  elseif not record[1] then
    fates[number] = 'unknown'
  elseif record[2] == owner and not record[4] and ended then
    fates[number] = 'stored'
  else
    fates[number] = 'refused'
  end
  local stored, bytes = tonumber(record[3] or 0), 0
  for _ = 1, tonumber(take()) do
    local seq, name, json = take(), take(), take()
    if is_writable and tonumber(seq) > stored then
      if name == '' then
        redis.call('XADD', events, fence .. '-' .. seq, 'json', json)
      else
        redis.call('XADD', events, fence .. '-' .. seq, 'json', json, 'name', name)
      end
      bytes = bytes + #json + #name + EVENT_BYTES
    end
  end
  if is_writable then
    redis.call('HSET', run, 'last', text(math.max(last, stored)), 'bytes', text((record[5] or 0) + bytes))
    if stored == 0 then
      redis.call('PEXPIRE', events, text(age + DAY))
    end
    all_bytes = all_bytes + bytes
    changed[#changed + 1] = fence
    if ended then
      local fields = {'status', end_status}
      if end_error ~= '' then
        fields[#fields + 1], fields[#fields + 2] = 'error', end_error
      end
      if end_result ~= '' then
        fields[#fields + 1], fields[#fields + 2] = 'result', end_result
        fields[#fields + 1], fields[#fields + 2] = 'result_kind', end_kind
        add_bytes(fence, #end_result)
      end
      finish(fence, fields, text(now()), age)
    end
  end
end
if #changed > 0 then
  redis.call('HINCRBY', clock, 'bytes', all_bytes)
  ring_runs(owner, changed)
end
return fates
