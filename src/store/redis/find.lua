-- The newest life of a run. ARGV: run id as JSON. Returns its fence and record, or nothing.
local fence = redis.call('GET', key('id', ARGV[1]))
if not fence then
  return false
end
return {fence, record_of(fence)}
