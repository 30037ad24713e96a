-- What is new of runs. ARGV: for each a fence, the seq from which on events are wanted, and how many at most.
-- Returns for each its record and its events.
local found = {}
for at = 1, #ARGV, 3 do
  local fence = ARGV[at]
  local record = redis.call('HGETALL', key('run', fence))
  local events = redis.call('XRANGE', key('events', fence), fence .. '-' .. ARGV[at + 1], '+', 'COUNT', ARGV[at + 2])
  found[#found + 1] = {record, events}
end
return found
