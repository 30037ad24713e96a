-- Say that an owner is alive. ARGV: owner, lease in ms.
-- Returns whether it had a lease: only without one others can have taken it for dead.
local had_lease = redis.call('EXISTS', key('lease', ARGV[1]))
renew(ARGV[1], ARGV[2])
return had_lease
