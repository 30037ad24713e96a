-- Take the reply to a command. ARGV: number. Returns it, '' if the run ended without one, or nil if there is none yet.
local reply = redis.call('GETDEL', key('reply', ARGV[1]))
if reply then
  redis.call('DEL', key('command', ARGV[1]))
  return reply
end
local fence = redis.call('GET', key('command', ARGV[1]))
if fence and not is_running(fence) then
  redis.call('DEL', key('command', ARGV[1]))
  return ''
end
return false
