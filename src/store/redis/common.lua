-- What the scripts share; it stands before each of them. KEYS[1] is the prefix of the project's keys, which has the only
-- hash tag, so all of them are in one slot of a cluster.
local prefix = KEYS[1]

local function key(name, of)
  return of and prefix .. ':' .. name .. ':' .. of or prefix .. ':' .. name
end

local clock = key('clock')
-- How far each run is that is running. One hash, which a batch of many runs reads and writes at once.
local progress = key('progress')

-- Lua's own way to write a number has 14 digits.
local function text(number)
  return string.format('%d', number)
end

-- Milliseconds since 1970. The server's, so that the clocks of the hosts need not agree.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A number larger than all before it: the time, or one more if the clock did not move on.
local function next_number(field)
  local number = math.max(now(), tonumber(redis.call('HGET', clock, field) or 0) + 1)
  redis.call('HSET', clock, field, text(number))
  return text(number)
end

-- Tell every engine what changed. The number shows those that missed a message that they did.
local function ring(message)
  local number = redis.call('HINCRBY', clock, 'changes', 1)
  redis.call('PUBLISH', key('bell'), text(number) .. ' ' .. message)
end

-- Tell of the runs that an owner, or whoever acts for one, has changed.
local function ring_runs(owner, fences)
  if #fences > 0 then
    ring('runs ' .. owner .. ' ' .. table.concat(fences, ' '))
  end
end

local function is_running(fence)
  return redis.call('HGET', key('run', fence), 'status') == 'running'
end

-- Bytes are those of the events, and what Redis needs for each and for a run, roughly.
local EVENT_BYTES = 24
local RUN_BYTES = 1024

-- Where a server that evicts keys lost a count, less is counted than is taken away later.
local function count_bytes(added)
  if redis.call('HINCRBY', clock, 'bytes', added) < 0 then
    redis.call('HSET', clock, 'bytes', 0)
  end
end

-- What `progress` says of a run: its newest seq stored, the bytes that it takes, its owner.
local function join(last, bytes, owner)
  return text(last) .. ' ' .. text(math.max(bytes, 0)) .. ' ' .. owner
end

-- Nothing, as of a run that is not there, for what cannot be read.
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

-- What there is of a run whose progress a server lost that evicts keys.
local function newest_event(fence)
  local newest = redis.call('XREVRANGE', key('events', fence), '+', '-', 'COUNT', 1)[1]
  return newest and tonumber(string.match(newest[1], '%d+$')) or 0
end

-- The record of a run, names and values, without its result, which may be large.
local FIELDS =
  {'run_id', 'status', 'owner', 'started', 'last', 'key', 'finished', 'error', 'result_kind', 'end_fence'}
local function record_of(fence)
  local values, record = redis.call('HMGET', key('run', fence), unpack(FIELDS)), {}
  for number, name in ipairs(FIELDS) do
    if values[number] then
      record[#record + 1] = name
      record[#record + 1] = values[number]
    end
  end
  -- What was read last counts.
  local last = progress_of(fence)
  if last then
    record[#record + 1], record[#record + 2] = 'last', text(last)
  end
  return record
end

-- How long the keys of a run live that was ended, or renewed by a live owner, with runs kept for `age` ms: a day longer, so
-- that they are removed by evict.lua unless nobody calls it any more. The indexes live as long after the last clean-up.
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

-- A run id, which is stored as JSON, as people know it.
local function id_text(run_id)
  return string.find(run_id, '\\', 1, true) and cjson.decode(run_id) or string.match(run_id, '^"(.*)"$') or run_id
end

-- Of each run that has ended, its status, and on further lines id, key and error in ASCII lower case. One hash, so that a list
-- looks at many runs with one call, and reads the records only of those that may be wanted. A run without texts is looked at
-- itself: one that is running, or has long ones.
local texts = key('texts')
local LONG_TEXTS = 2000

local function note_texts(fence)
  local status, run_id, run_key, why =
    unpack(redis.call('HMGET', key('run', fence), 'status', 'run_id', 'key', 'error'))
  if run_id and not string.find(status, '\n', 1, true) then
    local lines = table.concat({id_text(run_id), run_key or '', why or ''}, '\n')
    if #lines <= LONG_TEXTS then
      redis.call('HSET', texts, fence, status .. '\n' .. string.lower(lines))
    end
  end
end

-- End a run whose terminal event is stored. `fields` are names and values of its record; `age` is how long the record is
-- kept in milliseconds.
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

-- End a run of an owner that does not. `head` and `tail` are the terminal event before and after the run id, `why` the
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
  -- The owner may have given the next seq to an event that it could not store any more. The fence of its own keeps the two
  -- ids apart.
  local end_fence, json = next_number('fence'), head .. record[2] .. tail
  local stored, bytes = progress_of(fence)
  local last = (stored or newest_event(fence)) + 1
  redis.call('XADD', key('events', fence), end_fence .. '-' .. text(last), 'json', json)
  local added = #json + EVENT_BYTES
  set_progress(fence, last, (bytes or RUN_BYTES) + added, owner, added)
  finish(fence, {'status', 'failed', 'error', why, 'end_fence', end_fence}, text(now()), age)
  return true
end

-- Write what there is to know of a run that is running, unless it is there. Its owner renews it now and then, by keep.lua.
local function insert(fence, run_id, run_key, owner, started, age)
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
  redis.call('SET', key('id', run_id), fence)
  redis.call('ZADD', key('all'), fence, fence)
  redis.call('ZADD', key('running'), fence, fence)
  redis.call('SADD', key('owners'), owner)
  redis.call('SADD', key('runs-of', owner), fence)
  set_progress(fence, newest_event(fence), RUN_BYTES, owner, status and 0 or RUN_BYTES)
  expire_run(fence, age)
  redis.call('PEXPIRE', key('runs-of', owner), text(age + DAY))
end

-- Say that an owner is alive. What needs no memory is written first: after that a server whose memory is full lets a script
-- write on. Returns 1 if it had a lease, else 0: only without one others can have taken it for dead, and ended its runs.
-- Whoever renews a lease must learn this, since nobody who renews it later can tell.
local function renew(owner, lease)
  redis.call('HDEL', key('suspects'), owner)
  return redis.call('SET', key('lease', owner), '1', 'PX', lease, 'GET') and 1 or 0
end
