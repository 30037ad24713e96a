-- The commands for an owner, except those whose replies nobody waits for any more. ARGV: owner.
-- Returns the number and text of each.
local commands, found = key('commands', ARGV[1]), {}
local all = redis.call('HGETALL', commands)
for at = 1, #all, 2 do
  local number, command = all[at], all[at + 1]
  if redis.call('EXISTS', key('command', number)) == 1 or command:sub(1, 7) == 'cancel\n' then
    found[#found + 1], found[#found + 2] = number, command
  else
    redis.call('HDEL', commands, number)
  end
end
return found
