-- Enqueue many messages, some of them together with a hot value. Idempotent: by message id, by once-key, and by nonce.
--
-- ARGV   number of units, then for each unit:
--          0, or 1 and: hot key, expected version ('' for "must not exist"), value, ended 0|1, ttl ms, nonce
--          number of posts, then for each: id, queue, body, delay ms, once-key ('' for none), window ms, fingerprint
-- Reply  for each unit: version (0 without a hot value, -1 on a conflict: then none of its posts is enqueued),
--          then for each post: id of the message that stands for it, and 1 fresh | 0 seen before | 2 other fingerprint

local at = 1
local function take()
  at = at + 1
  return ARGV[at - 1]
end

local ready, counts, order, reply = {}, {}, {}, {}
local any_dead = redis.call('EXISTS', DEAD) == 1
local any_done = redis.call('EXISTS', DONE) == 1

local function put(key, expected, value, ended, ttl, nonce)
  key = base .. 'hot:' .. key
  local found = redis.call('HMGET', key, 'v', 'e', 'by')
  if found[3] == nonce then return tonumber(found[1]) end
  if found[2] or (found[1] or '') ~= expected then return -1 end
  local version = (tonumber(found[1]) or 0) + 1
  redis.call('HSET', key, 'v', version, 'd', value, 'by', nonce)
  if ended == '1' then redis.call('HSET', key, 'e', 1) end
  redis.call('PEXPIRE', key, ttl)
  return version
end

local function enqueue(id, queue, body, delay, once, window, fingerprint)
  if once ~= '' then
    local first = redis.call('GET', base .. 'once:' .. once)
    if first then
      local first_id, first_fingerprint = string.match(first, '^([^|]*)|(.*)$')
      return first_id, first_fingerprint == fingerprint and 0 or 2
    end
    redis.call('SET', base .. 'once:' .. once, id .. '|' .. fingerprint, 'PX', window)
  end
  if any_done and redis.call('ZSCORE', DONE, id) then return id, 0 end
  if any_dead and redis.call('ZSCORE', DEAD, id) then return id, 0 end
  if redis.call('HSETNX', MSGS, id, body) == 0 then return id, 0 end
  if not counts[queue] then
    counts[queue], ready[queue] = 0, {}
    order[#order + 1] = queue
  end
  if delay > 0 then
    redis.call('ZADD', delayed_key(queue), clock + delay, id)
    -- A worker may be waiting for a later message than this one.
    if redis.call('ZRANK', delayed_key(queue), id) == 0 then counts[queue] = math.max(counts[queue], 1) end
  else
    table.insert(ready[queue], id)
    counts[queue] = counts[queue] + 1
  end
  return id, 1
end

for _ = 1, tonumber(take()) do
  local version = 0
  if take() == '1' then version = put(take(), take(), take(), take(), take(), take()) end
  reply[#reply + 1] = version
  for _ = 1, tonumber(take()) do
    local id, queue, body, delay, once, window, fingerprint = take(), take(), take(), take(), take(), take(), take()
    local state = 0
    if version >= 0 then id, state = enqueue(id, queue, body, tonumber(delay), once, window, fingerprint) end
    reply[#reply + 1] = id
    reply[#reply + 1] = state
  end
end

for _, queue in ipairs(order) do
  redis.call('SADD', QUEUES, queue)
  in_chunks(ready[queue], function(...) redis.call('RPUSH', ready_key(queue), ...) end)
  if counts[queue] > 0 then wake_ready(queue, counts[queue]) end
end
return reply
