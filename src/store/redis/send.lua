-- Leave a command for the owner of a run. ARGV: fence, the command, ms after which nobody waits for a reply.
-- Returns its number.
local fence, command, age = ARGV[1], ARGV[2], ARGV[3]
local number = text(redis.call('HINCRBY', clock, 'command', 1))
redis.call('SET', key('command', number), fence, 'PX', age)
local record = redis.call('HMGET', key('run', fence), 'status', 'owner')
if record[1] == 'running' then
  local commands = key('commands', record[2])
  redis.call('HSET', commands, number, command)
  redis.call('PEXPIRE', commands, age)
  ring('commands ' .. record[2])
end
return number
