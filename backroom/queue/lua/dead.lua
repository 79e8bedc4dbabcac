-- The dead letters, newest first.
--
-- ARGV   how many, the id after which to go on ('' to begin)
-- Reply  for each: id, when it died (ms), reason, body

local limit, after = tonumber(ARGV[1]), ARGV[2]
local from = 0
if after ~= '' then
  local rank = redis.call('ZREVRANK', DEAD, after)
  if not rank then return {} end
  from = rank + 1
end
local found = redis.call('ZREVRANGE', DEAD, from, from + limit - 1, 'WITHSCORES')
local reply = {}
for i = 1, #found, 2 do
  local id = found[i]
  for _, value in ipairs({
    id, tonumber(found[i + 1]), redis.call('HGET', REASONS, id) or '', redis.call('HGET', BODIES, id) or '',
  }) do reply[#reply + 1] = value end
end
return reply
