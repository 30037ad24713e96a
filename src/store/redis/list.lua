-- A page of records, newest first. ARGV: 1 if a key is wanted, the key, a text in id, key, name or error or '', fence
-- before which to begin or '', maximum number of records, maximum number to examine, number of statuses, the statuses,
-- then fences of runs to include even without the text. Case is ignored for ASCII letters of the text.
-- Returns the fence before which to continue, or '' if there are no more, then the fence and record of each.
local wants_key, wanted_key, wanted_text = ARGV[1] == '1', ARGV[2], string.lower(ARGV[3])
local before = ARGV[4] == '' and '+inf' or '(' .. ARGV[4]
local most, looks, number_of_statuses = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local statuses, also = {}, {}
for at = 8, #ARGV do
  (at < 8 + number_of_statuses and statuses or also)[ARGV[at]] = true
end

local function has_text(value)
  return value and string.find(string.lower(value), wanted_text, 1, true)
end

local function is_wanted(fence)
  local status, run_key, run_id, why, name =
    unpack(redis.call('HMGET', key('run', fence), 'status', 'key', 'run_id', 'error', 'name'))
  return status
    and (not wants_key or run_key == wanted_key)
    and (number_of_statuses == 0 or statuses[status])
    and (
      wanted_text == ''
      or also[fence]
      or has_text(id_text(run_id))
      or has_text(run_key)
      or has_text(why)
      or has_text(name)
    )
end

-- Whether the texts of a run may match. A key or text may be found in the wrong line, or across two.
local key_line = '\n' .. string.lower(wanted_key) .. '\n'
local function may_be_wanted(lines, fence)
  local head = string.find(lines, '\n', 1, true)
  return (number_of_statuses == 0 or statuses[string.sub(lines, 1, head - 1)])
    and (not wants_key or string.find(lines, key_line, head, true))
    and (
      wanted_text == ''
      or also[fence]
      or string.find(lines, wanted_text, head, true)
      or string.sub(lines, -#WITH_NAME) ~= WITH_NAME
    )
end

local only_running = number_of_statuses == 1 and statuses.running
local index = only_running and key('running') or key('all')
local fences = redis.call('ZREVRANGEBYSCORE', index, before, '-inf', 'LIMIT', 0, looks)
local found, on = {''}, #fences == looks and fences[looks] or ''
local is_filtered = wants_key or number_of_statuses > 0 or wanted_text ~= ''
local lines = is_filtered and #fences > 0 and redis.call('HMGET', texts, unpack(fences)) or {}
for number, fence in ipairs(fences) do
  if (not lines[number] or may_be_wanted(lines[number], fence)) and is_wanted(fence) then
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
