-- How much each queue holds.
--
-- ARGV   names of queues; none for all that were ever used
-- Reply  for each queue: name, ready, delayed, in flight, oldest ready id ('' for none), its body

local queues = #ARGV > 0 and ARGV or redis.call('SMEMBERS', QUEUES)
local inflight = {}
for _, worker in ipairs(redis.call('ZRANGE', WORKERS, 0, -1)) do
  for _, value in ipairs(redis.call('HVALS', inflight_key(worker))) do
    local _, queue = parse_lease(value)
    inflight[queue] = (inflight[queue] or 0) + 1
  end
end
local reply = {}
for _, queue in ipairs(queues) do
  local id = redis.call('LINDEX', ready_key(queue), 0) or ''
  for _, value in ipairs({
    queue, redis.call('LLEN', ready_key(queue)), redis.call('ZCARD', delayed_key(queue)), inflight[queue] or 0,
    id, id ~= '' and redis.call('HGET', MSGS, id) or '',
  }) do reply[#reply + 1] = value end
end
return reply
