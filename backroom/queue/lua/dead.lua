-- The ids of the dead letters, newest first.
--
-- ARGV   how many, the id after which to go on ('' to begin)
-- Reply  1, then the ids | 0 where the id to go on after is not dead

local limit, after = tonumber(ARGV[1]), ARGV[2]
local from = 0
if after ~= '' then
  local rank = call('ZREVRANK', DEAD, after)
  if not rank then return {0} end
  from = rank + 1
end
return {1, unpack(call('ZREVRANGE', DEAD, from, from + limit - 1))}
