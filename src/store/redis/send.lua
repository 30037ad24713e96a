-- Leave a command for the owner of a run. ARGV: the asker, fence, the command, 1 if it is a cancel, ms that the command
-- waits for a reply, ms that a finished run is kept.
-- Returns its number. A cancel has the run's fence as its number: one is enough, and it waits for the owner until the
-- run has ended. Other numbers come from the same clock, so they differ from all fences. Numbers alone identify
-- commands, and a mere counter would repeat some after the server was set back.
local asker, fence, command, is_cancel, age, kept =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5], tonumber(ARGV[6])
local number = fence
if not is_cancel then
  number = next_number('fence')
  redis.call('SET', key('command', number), fence .. ' ' .. asker, 'PX', age)
end
local record = redis.call('HMGET', key('run', fence), 'status', 'owner')
if record[1] == 'running' then
  local commands = key('commands', record[2])
  redis.call('HSET', commands, number, command)
  redis.call('PEXPIRE', commands, text(kept + DAY))
  ring('commands ' .. record[2])
end
return number
