-- Renew the keys of an owner's runs, which expire once nobody renews them. ARGV: owner, ms that a finished run is kept,
-- the cursor ('0' at first), and about how many runs to renew.
-- Returns the next cursor, '0' after the last run.
local owner, age = ARGV[1], tonumber(ARGV[2])
local runs = key('runs-of', owner)
redis.call('PEXPIRE', runs, text(age + DAY))
local next_part, fences = unpack(redis.call('SSCAN', runs, ARGV[3], 'COUNT', ARGV[4]))
for _, fence in ipairs(fences) do
  expire_run(fence, age)
end
return next_part
