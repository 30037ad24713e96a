-- Start to use the store. ARGV: a name for its data, in case it has none; a store that was emptied gets a new one.
-- Returns the name, and the number of the last change.
redis.call('HSETNX', clock, 'epoch', ARGV[1])
return redis.call('HMGET', clock, 'epoch', 'changes')
