-- Reply to a command. ARGV: owner, number, ms that the reply is kept, 1 if there is a reply, the reply.
redis.call('HDEL', key('commands', ARGV[1]), ARGV[2])
if ARGV[4] == '1' then
  redis.call('SET', key('reply', ARGV[2]), ARGV[5], 'PX', ARGV[3])
  local command = redis.call('GET', key('command', ARGV[2]))
  if command then
    ring('replies ' .. string.match(command, ' (.*)'))
  end
end
