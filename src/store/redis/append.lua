-- Store events of runs. ARGV: owner, ms that a finished run is kept, number of runs, their fences; then for each run:
-- last seq, 1 if it has ended, and if so status, error, result and its kind ('' for no error or result); number of
-- events, and for each event: seq, name or '', JSON.
-- Returns for each run: 'stored', 'unknown', or 'refused' if another process ended it. Events that are stored already
-- are skipped, so that everything can be retried.
local owner, age, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local fences = {unpack(ARGV, 4, 3 + count)}
local states = redis.call('HMGET', progress, unpack(fences))
local fates, changes, changed, ends, all_bytes, at = {}, {}, {}, {}, 0, 4 + count

local function take()
  at = at + 1
  return ARGV[at - 1]
end

-- A server that evicts counts a touched key as used; TOUCH also reveals whether a record is gone.
local runs = {}
for number, fence in ipairs(fences) do
  runs[number] = key('run', fence)
end
if redis.call('TOUCH', unpack(runs)) < count then
  for number, fence in ipairs(fences) do
    if redis.call('EXISTS', runs[number]) == 0 then
      redis.call('HDEL', progress, fence)
      states[number] = false
    end
  end
end

-- The fate of a run that cannot be written. If the answer to a call was lost, its owner sends a stored end again with
-- everything before it, perhaps in several calls.
local function fate(number, is_known)
  local record = redis.call('HMGET', runs[number], 'status', 'owner', 'end_fence')
  if not record[1] or (record[1] == 'running' and not is_known) then
    return 'unknown'
  end
  return record[2] == owner and not record[3] and 'stored' or 'refused'
end

for number, fence in ipairs(fences) do
  local last, ended = tonumber(take()), take() == '1'
  local fields, added = nil, 0
  if ended then
    fields = {'status', take()}
    for _, name in ipairs({'error', 'result', 'result_kind'}) do
      local value = take()
      if value ~= '' then
        fields[#fields + 1], fields[#fields + 2] = name, value
      end
      if name == 'result' then
        added = #value
      end
    end
  end
  local stored, bytes, active_owner = split(states[number])
  local is_writable, events = active_owner == owner, key('events', fence)
  fates[number] = is_writable and 'stored' or fate(number, stored)
  for _ = 1, tonumber(take()) do
    local seq, name, json = take(), take(), take()
    if is_writable and tonumber(seq) > stored then
      if name == '' then
        redis.call('XADD', events, fence .. '-' .. seq, 'json', json)
      else
        redis.call('XADD', events, fence .. '-' .. seq, 'json', json, 'name', name)
      end
      added = added + #json + #name + EVENT_BYTES
    end
  end
  if is_writable then
    if stored == 0 then
      redis.call('PEXPIRE', events, text(age + DAY))
    end
    changed[#changed + 1] = fence
    changes[#changes + 1], changes[#changes + 2] = fence, join(math.max(last, stored), bytes + added, owner)
    all_bytes = all_bytes + added
    if ended then
      ends[fence] = fields
    end
  end
end
if #changed > 0 then
  redis.call('HSET', progress, unpack(changes))
  count_bytes(all_bytes)
  for fence, fields in pairs(ends) do
    finish(fence, fields, text(now()), age)
  end
  ring_runs(owner, changed)
end
return fates
