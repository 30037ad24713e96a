-- The reply to a command. ARGV: number. Returns it, '' if the run ended without one, or nil if there is none yet.
local number = ARGV[1]
local reply = redis.call('GET', key('reply', number))
if reply then
  return reply
end
local command = redis.call('GET', key('command', number))
local fence = command and string.match(command, '%d+')
if not fence or is_running(fence) then
  return false
end
local record = redis.call('HMGET', key('run', fence), 'owner', 'end_fence')
-- The owner ended the run itself, perhaps because of this very command, and will still reply.
if record[1] and not record[2] and redis.call('HEXISTS', key('commands', record[1]), number) == 1 then
  return false
end
return ''
