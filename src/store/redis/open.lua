-- Begin to use the store. ARGV: a name for it, should it have none: one that was emptied gets another.
-- Returns its name, and the number of its last change.
redis.call('HSETNX', clock, 'epoch', ARGV[1])
return redis.call('HMGET', clock, 'epoch', 'changes')
