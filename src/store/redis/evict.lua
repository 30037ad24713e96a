-- Remove part of what is over the limits. ARGV: ms that a finished run is kept, runs, bytes, maximum number of runs or
-- events to remove.
-- Returns 1 if there is more to remove.
local age, max_runs, max_bytes, step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local finished, running = key('finished'), key('running')

local function used()
  return tonumber(redis.call('HGET', clock, 'bytes') or 0)
end

local function remove(fence)
  local record = redis.call('HMGET', key('run', fence), 'run_id', 'bytes')
  -- First, because a server whose memory is full refuses to count until something is freed.
  redis.call('UNLINK', key('run', fence), key('events', fence))
  if record[1] and redis.call('GET', key('id', record[1])) == fence then
    redis.call('DEL', key('id', record[1]))
  end
  count_bytes(0 - tonumber(record[2] or 0))
  redis.call('ZREM', key('all'), fence)
  redis.call('HDEL', texts, fence)
  redis.call('ZREM', finished, fence)
  return record[1]
end

-- Records that expired by themselves took their byte counts with them.
local function count_again()
  local bytes = 0
  for _, fence in ipairs(redis.call('ZRANGE', finished, 0, -1)) do
    bytes = bytes + tonumber(redis.call('HGET', key('run', fence), 'bytes') or 0)
  end
  for _, state in ipairs(redis.call('HVALS', progress)) do
    bytes = bytes + (select(2, split(state)) or 0)
  end
  redis.call('HSET', clock, 'bytes', bytes)
end

local function excess()
  local oldest = redis.call('ZRANGE', finished, 0, 0, 'WITHSCORES')
  if not oldest[1] then
    return false
  end
  local runs = redis.call('ZCARD', finished) + redis.call('ZCARD', running)
  return (now() - tonumber(oldest[2]) >= age or runs > max_runs or used() > max_bytes) and oldest[1]
end

-- Nothing is left to remove. The write shows whether the server can be written.
local function done()
  redis.call('HSET', clock, 'tidied', text(now()))
  expire_indexes(age)
  return 0
end

local removed, is_known = 0, true
local fence = excess()
while fence and removed < step do
  is_known = remove(fence) and is_known
  removed = removed + 1
  fence = excess()
end
if not is_known then
  count_again()
end
if fence then
  return 1
end
if removed > 0 or used() <= max_bytes then
  return done()
end

-- Unfinished runs are too large: remove the oldest events of the largest.
local states, largest, most = redis.call('HGETALL', progress), nil, 0
for at = 1, #states, 2 do
  local fence, bytes = states[at], select(2, split(states[at + 1])) or 0
  if bytes > most and redis.call('XLEN', key('events', fence)) > 1 then
    largest, most = fence, bytes
  end
end
if not largest then
  return done()
end
local events = redis.call('XRANGE', key('events', largest), '-', '+', 'COUNT', step + 1)
local bytes = 0
for number = 1, #events - 1 do
  for _, value in ipairs({events[number][2][2], events[number][2][4]}) do
    bytes = bytes + #value
  end
  bytes = bytes + EVENT_BYTES
end
redis.call('XTRIM', key('events', largest), 'MINID', events[#events][1])
local last, before, owner = progress_of(largest)
set_progress(largest, last, before - bytes, owner, -bytes)
return used() > max_bytes and 1 or 0
