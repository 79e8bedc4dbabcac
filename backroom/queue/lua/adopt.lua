-- Say what a worker holds, so that it can take what it does not know of: the reply to a fetch may have been lost.
--
-- ARGV   worker
-- Reply  for each message: id, "token|delivery|begun|queue|line", body

local held = call('HGETALL', inflight_key(ARGV[1]))
local reply = {}
for i = 1, #held, 2 do
  reply[#reply + 1] = held[i]
  reply[#reply + 1] = held[i + 1]
  reply[#reply + 1] = call('HGET', MSGS, held[i]) or ''
end
return reply
