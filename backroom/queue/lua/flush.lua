-- Drop everything that waits in a queue.
--
-- ARGV   queue
-- Reply  how many messages went

local queue, gone = ARGV[1], 0
for _, ids in ipairs({redis.call('LRANGE', ready_key(queue), 0, -1), redis.call('ZRANGE', delayed_key(queue), 0, -1)}) do
  gone = gone + #ids
  in_chunks(ids, function(...)
    redis.call('HDEL', MSGS, ...)
    redis.call('HDEL', DELIVERIES, ...)
    redis.call('HDEL', ALONE, ...)
  end)
end
redis.call('DEL', ready_key(queue), delayed_key(queue), base .. 'wake:' .. queue)
redis.call('HDEL', lane_key(queue), 'first', 'full', 'until')
return gone
