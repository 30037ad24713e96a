-- Renew an owner's lease. ARGV: owner, lease in ms.
-- Returns whether there was one.
return renew(ARGV[1], ARGV[2])
