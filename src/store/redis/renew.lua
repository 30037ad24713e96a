-- Say that an owner is alive. ARGV: owner, lease in ms.
renew(ARGV[1], ARGV[2])
