-- Where a message is.
--
-- ARGV   id
-- Reply  queued | scheduled | running | dead | done | unknown, and its body ('' for none)

local id = ARGV[1]
local body = redis.call('HGET', MSGS, id)
if not body then
  local dead = redis.call('HGET', BODIES, id)
  if dead then return {'dead', dead} end
  return {redis.call('ZSCORE', DONE, id) and 'done' or 'unknown', ''}
end
for _, worker in ipairs(redis.call('ZRANGE', WORKERS, 0, -1)) do
  if redis.call('HEXISTS', inflight_key(worker), id) == 1 then return {'running', body} end
end
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
  if redis.call('ZSCORE', delayed_key(queue), id) then return {'scheduled', body} end
end
return {'queued', body}
