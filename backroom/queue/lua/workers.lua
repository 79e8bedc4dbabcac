-- The workers that are alive, or were a moment ago.
--
-- Reply  for each: name, ms until its lease ends, how many messages it holds

local found = call('ZRANGE', WORKERS, 0, -1, 'WITHSCORES')
local reply = {}
for i = 1, #found, 2 do
  reply[#reply + 1] = found[i]
  reply[#reply + 1] = tonumber(found[i + 1]) - clock
  reply[#reply + 1] = call('HLEN', inflight_key(found[i]))
end
return reply
