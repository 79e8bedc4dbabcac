-- Drop a message that is dead or waits. Its place in a list goes when a worker comes to it and finds no body.
--
-- ARGV   id
-- Reply  1 dropped | 0 not there | -1 a worker holds it

even_if_full()

local id = ARGV[1]
local dropped = redis.call('ZREM', DEAD, id)
redis.call('HDEL', BODIES, id)
redis.call('HDEL', REASONS, id)
if redis.call('HEXISTS', MSGS, id) == 1 then
  for _, worker in ipairs(redis.call('ZRANGE', WORKERS, 0, -1)) do
    if redis.call('HEXISTS', inflight_key(worker), id) == 1 then return -1 end
  end
  redis.call('HDEL', MSGS, id)
  redis.call('HDEL', DELIVERIES, id)
  redis.call('HDEL', ALONE, id)
  for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do redis.call('ZREM', delayed_key(queue), id) end
  dropped = 1
end
-- Whoever repeats its enqueue now would bring it back.
if dropped == 1 then redis.call('ZADD', DONE, clock + TOMBSTONE_MS, id) end
return dropped
