-- A page of records, the newest first. ARGV: 1 if a key is wanted, the key, status or '', fence before which or '', number
-- of records at most, and of those that are looked at.
-- Returns the fence to go on before, or '' if there are no more, then fence and record of each.
local wants_key, wanted_key, wanted_status = ARGV[1] == '1', ARGV[2], ARGV[3]
local before = ARGV[4] == '' and '+inf' or '(' .. ARGV[4]
local most, looks = tonumber(ARGV[5]), tonumber(ARGV[6])

local index = wanted_status == 'running' and key('running') or key('all')
local fences = redis.call('ZREVRANGEBYSCORE', index, before, '-inf', 'LIMIT', 0, looks)
local found, on = {''}, #fences == looks and fences[looks] or ''
for _, fence in ipairs(fences) do
  local record = redis.call('HMGET', key('run', fence), 'status', 'key')
  if
    record[1]
    and (not wants_key or record[2] == wanted_key)
    and (wanted_status == '' or record[1] == wanted_status)
  then
    found[#found + 1] = fence
    found[#found + 1] = record_of(fence)
    if #found > 2 * most then
      on = ''
      break
    end
  end
end
found[1] = on
return found
