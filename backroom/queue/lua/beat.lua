-- Renew a worker's lease by the server's clock.
--
-- ARGV   worker, lease ms
-- Reply  1 if it had no lease before: others may have taken what it holds; then the ids of those of its messages that
--        somebody wants cancelled

even_if_full()
local reply = {call('ZADD', WORKERS, clock + tonumber(ARGV[2]), ARGV[1])}
if call('EXISTS', CANCELS) == 1 then
  local asked = call('HGETALL', CANCELS)
  for i = 1, #asked, 2 do
    if asked[i + 1] == ARGV[1] then reply[#reply + 1] = asked[i] end
  end
end
return reply
