-- Set what an operator wants of a queue.
--
-- ARGV   queue, then for each rule: name (state, most, mark or age), value ('' for the usual one)

local key = rules_key(ARGV[1])
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then call('HDEL', key, ARGV[i]) else call('HSET', key, ARGV[i], ARGV[i + 1]) end
end
call('HINCRBY', QUEUES, ARGV[1], 0)
if waiting_in(ARGV[1]) > 0 then wake_ready(ARGV[1], WAKES) end
return 1
