-- Let time pass for what is due later: only for tests, which do not want to wait.
--
-- ARGV   ms
-- Reply  how many messages are nearer now

local moved = 0
for _, queue in ipairs(call('HKEYS', QUEUES)) do
  local key = delayed_key(queue)
  local found = call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #found, 2 do
    call('ZADD', key, tonumber(found[i + 1]) - tonumber(ARGV[1]), found[i])
    moved = moved + 1
  end
  if #found > 0 then wake(queue, 1) end
end
return moved
