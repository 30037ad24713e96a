-- What is new of runs. ARGV: bytes after which no more events are read, then for each run a fence, the seq from which on
-- events are wanted, and how many at most.
-- Returns for each the newest seq of a run that is running, its whole record if it ended, or nothing; and its events.
local budget, step, found = tonumber(ARGV[1]), 16, {}
for at = 2, #ARGV, 3 do
  local fence = ARGV[at]
  local run, record = key('run', fence), false
  local short = redis.call('HMGET', run, 'status', 'last')
  if short[1] == 'running' then
    record = short[2]
  elseif short[1] then
    record = record_of(fence)
  end
  local events, from, wanted = {}, fence .. '-' .. ARGV[at + 1], tonumber(ARGV[at + 2])
  while budget > 0 and wanted > 0 do
    local count = math.min(wanted, step)
    local some = redis.call('XRANGE', key('events', fence), from, '+', 'COUNT', count)
    for _, event in ipairs(some) do
      events[#events + 1] = event
      for _, value in ipairs(event[2]) do
        budget = budget - #value
      end
    end
    if #some < count then
      break
    end
    wanted, from = wanted - count, '(' .. some[count][1]
  end
  found[#found + 1] = {record, events}
end
return found
