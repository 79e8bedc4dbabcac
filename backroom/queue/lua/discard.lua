-- needs waiting
-- Drop messages that are dead or wait.
--
-- ARGV   dead (nothing else is touched) or any, then ids
-- Reply  for each: 1 dropped | 0 not there | -1 a worker holds it

even_if_full()

local function drop(id)
  local dropped = call('ZREM', DEAD, id)
  if dropped == 1 then
    for _, key in ipairs({BODIES, REASONS, DEAD_EXTRAS}) do call('HDEL', key, id) end
  end
  local body = ARGV[1] == 'any' and call('HGET', MSGS, id)
  if body then
    if holder_of(id) then return -1 end
    drop_waiting(id, body)
    forget({id})
    dropped = 1
  end
  -- Whoever repeats its enqueue now would bring it back.
  if dropped == 1 then call('ZADD', DONE, clock + TOMBSTONE_MS, id) end
  return dropped
end

local reply = {}
for i = 2, #ARGV do reply[#reply + 1] = drop(ARGV[i]) end
return reply
