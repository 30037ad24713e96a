-- Renew an owner's lease, and check that it owns a run that is running. ARGV: owner, lease in ms, fence.
-- Returns whether it does, and whether there was a lease: 1 or 0 each.
local had_lease = renew(ARGV[1], ARGV[2])
local record = redis.call('HMGET', key('run', ARGV[3]), 'status', 'owner')
return {record[1] == 'running' and record[2] == ARGV[1] and 1 or 0, had_lease}
