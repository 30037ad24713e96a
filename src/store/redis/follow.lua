-- What is new of runs. ARGV: for each a fence, the seq from which on events are wanted, and how many at most.
-- Returns for each the newest seq of a run that is running, its whole record if it ended, or nothing; and its events.
local found = {}
for at = 1, #ARGV, 3 do
  local fence = ARGV[at]
  local run, record = key('run', fence), false
  local short = redis.call('HMGET', run, 'status', 'last')
  if short[1] == 'running' then
    record = short[2]
  elseif short[1] then
    record = redis.call('HGETALL', run)
  end
  local events = redis.call('XRANGE', key('events', fence), fence .. '-' .. ARGV[at + 1], '+', 'COUNT', ARGV[at + 2])
  found[#found + 1] = {record, events}
end
return found
