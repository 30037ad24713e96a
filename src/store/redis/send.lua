-- Leave a command for the owner of a run. ARGV: who asks, fence, the command, 1 if it is a cancel, ms after which nobody waits
-- for a reply, ms that a finished run is kept.
-- Returns its number. That of a cancel is the run's fence: one is enough, and waits for the owner until the run has ended. Any
-- other is of the same clock, so it is no run's. Owners and those who ask know commands by their numbers alone: a count
-- would give one twice after the server was set back.
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
