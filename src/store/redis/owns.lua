-- Renew the lease of the owner of a run that is running. ARGV: owner, lease in ms, fence.
-- Returns whether it is that: 1 or 0.
local record = redis.call('HMGET', key('run', ARGV[3]), 'status', 'owner')
if record[1] ~= 'running' or record[2] ~= ARGV[1] then
  return 0
end
-- One that had lapsed is renewed by renew.lua, which tells of it.
if redis.call('EXISTS', key('lease', ARGV[1])) == 1 then
  renew(ARGV[1], ARGV[2])
end
return 1
