-- needs waiting
-- Drop a message that is dead or waits.
--
-- ARGV   id
-- Reply  1 dropped | 0 not there | -1 a worker holds it

even_if_full()

local id = ARGV[1]
local dropped = call('ZREM', DEAD, id)
for _, key in ipairs({BODIES, REASONS, DEAD_EXTRAS}) do call('HDEL', key, id) end
local body = call('HGET', MSGS, id)
if body then
  if holder_of(id) then return -1 end
  drop_waiting(id, body)
  forget({id})
  dropped = 1
end
-- Whoever repeats its enqueue now would bring it back.
if dropped == 1 then call('ZADD', DONE, clock + TOMBSTONE_MS, id) end
return dropped
