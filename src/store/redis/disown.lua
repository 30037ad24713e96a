-- End runs of an owner that does not know them, such as one whose beginning it was never told. ARGV: owner, ms that a
-- finished run is kept, the terminal event before and after the run id, the error, then fences.
-- Returns the number of runs ended.
local owner, age, head, tail, why = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local ended = {}
for at = 6, #ARGV do
  local fence = ARGV[at]
  if interrupt(owner, fence, head, tail, why, age) then
    ended[#ended + 1] = fence
  end
end
ring_runs(owner, ended)
return #ended
