-- Shared by all scripts and prepended to each. KEYS[1] is the prefix of the project's keys. It has the only hash tag,
-- so all of them are in one slot of a cluster.
local prefix = KEYS[1]

local function key(name, of)
  return of and prefix .. ':' .. name .. ':' .. of or prefix .. ':' .. name
end

local clock = key('clock')
-- How far each running run has come. One hash, so that a batch of many runs reads and writes it at once.
local progress = key('progress')

-- Lua's default format for numbers has 14 digits.
local function text(number)
  return string.format('%d', number)
end

-- Milliseconds since 1970, by the server's clock, so that the hosts' clocks need not agree.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A number larger than all before it: the time, or the last number plus one if the clock has not advanced.
local function next_number(field)
  local number = math.max(now(), tonumber(redis.call('HGET', clock, field) or 0) + 1)
  redis.call('HSET', clock, field, text(number))
  return text(number)
end

-- Tell every engine what changed. The numbers reveal missed messages.
local function ring(message)
  local number = redis.call('HINCRBY', clock, 'changes', 1)
  redis.call('PUBLISH', key('bell'), text(number) .. ' ' .. message)
end

-- Report the runs that an owner, or another process on its behalf, has changed.
local function ring_runs(owner, fences)
  if #fences > 0 then
    ring('runs ' .. owner .. ' ' .. table.concat(fences, ' '))
  end
end

local function is_running(fence)
  return redis.call('HGET', key('run', fence), 'status') == 'running'
end

-- Bytes are those of the events, plus about what Redis needs for each event and run.
local EVENT_BYTES = 24
local RUN_BYTES = 1024

-- The count can fall below zero if a server that evicts keys has lost part of it.
local function count_bytes(added)
  if redis.call('HINCRBY', clock, 'bytes', added) < 0 then
    redis.call('HSET', clock, 'bytes', 0)
  end
end

-- The entry of a run in `progress`: its newest seq stored, its bytes, its owner.
local function join(last, bytes, owner)
  return text(last) .. ' ' .. text(math.max(bytes, 0)) .. ' ' .. owner
end

-- An unreadable entry yields nothing, like a missing one.
local function split(state)
  if state then
    local last, bytes, owner = string.match(state, '^(%d+) (%d+) (.+)$')
    return tonumber(last), tonumber(bytes), owner
  end
end

local function progress_of(fence)
  return split(redis.call('HGET', progress, fence))
end

local function set_progress(fence, last, bytes, owner, added)
  redis.call('HSET', progress, fence, join(last, bytes, owner))
  count_bytes(added)
end

-- The newest seq of a run whose progress was lost by a server that evicts keys.
local function newest_event(fence)
  local newest = redis.call('XREVRANGE', key('events', fence), '+', '-', 'COUNT', 1)[1]
  return newest and tonumber(string.match(newest[1], '%d+$')) or 0
end

-- The record of a run as names and values, without its result, which may be large.
local FIELDS =
  {'run_id', 'status', 'owner', 'started', 'last', 'key', 'name', 'finished', 'error', 'result_kind', 'end_fence'}
local function record_of(fence)
  local values, record = redis.call('HMGET', key('run', fence), unpack(FIELDS)), {}
  for number, name in ipairs(FIELDS) do
    if values[number] then
      record[#record + 1] = name
      record[#record + 1] = values[number]
    end
  end
  -- The last of two values for a name counts.
  local last = progress_of(fence)
  if last then
    record[#record + 1], record[#record + 2] = 'last', text(last)
  end
  return record
end

-- How long the keys of a run live after it was ended, or renewed by a live owner, with runs kept for `age` ms: a day
-- longer, so that evict.lua removes them, unless nobody calls it any more. The indexes live that long after the last
-- clean-up.
local DAY = 86400000

local function expire_run(fence, age)
  local run, kept = key('run', fence), text(age + DAY)
  local record = redis.call('HMGET', run, 'run_id', 'key')
  redis.call('PEXPIRE', run, kept)
  redis.call('PEXPIRE', key('events', fence), kept)
  if record[1] and redis.call('GET', key('id', record[1])) == fence then
    redis.call('PEXPIRE', key('id', record[1]), kept)
  end
  if record[2] and redis.call('GET', key('key', record[2])) == fence then
    redis.call('PEXPIRE', key('key', record[2]), kept)
  end
end

local function expire_indexes(age)
  for _, name in ipairs({'clock', 'progress', 'all', 'running', 'finished', 'texts', 'owners', 'suspects'}) do
    redis.call('PEXPIRE', key(name), text(age + 2 * DAY))
  end
end

-- The text of a run id, which is stored as JSON.
local function id_text(run_id)
  return string.find(run_id, '\\', 1, true) and cjson.decode(run_id) or string.match(run_id, '^"(.*)"$') or run_id
end

-- For each run that has ended, its status and, on further lines, id, key, error and name in ASCII lower case. One hash,
-- so that a list checks many runs with one call and reads only the records that may match. Runs without an entry,
-- because they are running or have long texts, are read themselves; so are those whose entry a process of a version
-- without names wrote, which lacks the mark at its end.
local texts = key('texts')
local LONG_TEXTS = 2000
local WITH_NAME = '\n\0'

local function note_texts(fence)
  local status, run_id, run_key, why, name =
    unpack(redis.call('HMGET', key('run', fence), 'status', 'run_id', 'key', 'error', 'name'))
  if run_id and not string.find(status, '\n', 1, true) then
    local lines = table.concat({id_text(run_id), run_key or '', why or '', name or ''}, '\n') .. WITH_NAME
    if #lines <= LONG_TEXTS then
      redis.call('HSET', texts, fence, status .. '\n' .. string.lower(lines))
    end
  end
end

-- End a run whose terminal event is stored. `fields` are names and values for its record; the record is kept for `age`
-- ms.
local function finish(fence, fields, finished, age)
  local run, last, bytes = key('run', fence), progress_of(fence)
  redis.call('HSET', run, 'finished', finished, 'last', text(last), 'bytes', text(bytes), unpack(fields))
  redis.call('HDEL', progress, fence)
  note_texts(fence)
  local record = redis.call('HMGET', run, 'run_id', 'key', 'owner')
  redis.call('ZREM', key('running'), fence)
  redis.call('ZADD', key('finished'), finished, fence)
  if record[3] then
    local runs = key('runs-of', record[3])
    redis.call('SREM', runs, fence)
    redis.call('HDEL', key('commands', record[3]), fence)
    if redis.call('EXISTS', runs) == 0 then
      redis.call('SREM', key('owners'), record[3])
    end
  end
  if record[2] and redis.call('GET', key('key', record[2])) == fence then
    redis.call('DEL', key('key', record[2]))
  end
  expire_run(fence, age)
end

-- End a run on behalf of its owner. `head` and `tail` are the terminal event before and after the run id, `why` the
-- error. Returns whether it was running; if not, it is no longer listed as the owner's.
local function interrupt(owner, fence, head, tail, why, age)
  local record = redis.call('HMGET', key('run', fence), 'status', 'run_id')
  if record[1] ~= 'running' then
    redis.call('SREM', key('runs-of', owner), fence)
    redis.call('HDEL', progress, fence)
    if not record[1] then
      redis.call('ZREM', key('running'), fence)
      redis.call('ZREM', key('all'), fence)
    end
    return false
  end
  -- The owner may have assigned the next seq to an event that it never stored. A separate fence keeps the two ids
  -- apart.
  local end_fence, json = next_number('fence'), head .. record[2] .. tail
  local stored, bytes = progress_of(fence)
  local last = (stored or newest_event(fence)) + 1
  redis.call('XADD', key('events', fence), end_fence .. '-' .. text(last), 'json', json)
  local added = #json + EVENT_BYTES
  set_progress(fence, last, (bytes or RUN_BYTES) + added, owner, added)
  finish(fence, {'status', 'failed', 'error', why, 'end_fence', end_fence}, text(now()), age)
  return true
end

-- Write the data of a running run, unless it exists. Its owner renews it periodically with keep.lua.
local function insert(fence, run_id, run_key, name, owner, started, age)
  local run = key('run', fence)
  local status = redis.call('HGET', run, 'status')
  if status and (status ~= 'running' or progress_of(fence)) then
    return
  end
  redis.call('HSET', run, 'run_id', run_id, 'status', 'running', 'owner', owner, 'started', started, 'last', 0)
  if run_key then
    redis.call('HSET', run, 'key', run_key)
    redis.call('SET', key('key', run_key), fence)
  end
  if name then
    redis.call('HSET', run, 'name', name)
  end
  redis.call('SET', key('id', run_id), fence)
  redis.call('ZADD', key('all'), fence, fence)
  redis.call('ZADD', key('running'), fence, fence)
  redis.call('SADD', key('owners'), owner)
  redis.call('SADD', key('runs-of', owner), fence)
  set_progress(fence, newest_event(fence), RUN_BYTES, owner, status and 0 or RUN_BYTES)
  expire_run(fence, age)
  redis.call('PEXPIRE', key('runs-of', owner), text(age + DAY))
end

-- Renew an owner's lease. The write that needs no memory comes first: after it, a server whose memory is full lets the
-- script write on. Returns 1 if there was a lease, else 0: only without one can others have declared the owner dead and
-- ended its runs. Every caller must report this, because later renewals cannot tell.
local function renew(owner, lease)
  redis.call('HDEL', key('suspects'), owner)
  return redis.call('SET', key('lease', owner), '1', 'PX', lease, 'GET') and 1 or 0
end
