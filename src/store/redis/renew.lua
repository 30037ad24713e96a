-- Say that an owner is alive. ARGV: owner, lease in ms.
-- Returns whether it had a lease.
return renew(ARGV[1], ARGV[2])
