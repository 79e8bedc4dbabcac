-- Put a dead letter back on its queue.
--
-- ARGV   id, queue, body
-- Reply  1 done | 0 it is not dead

local id, queue, body = ARGV[1], ARGV[2], ARGV[3]
if redis.call('ZREM', DEAD, id) == 0 then return 0 end
redis.call('HDEL', BODIES, id)
redis.call('HDEL', REASONS, id)
redis.call('HSET', MSGS, id, body)
redis.call('SADD', QUEUES, queue)
redis.call('RPUSH', ready_key(queue), id)
wake_ready(queue, 1)
return 1
