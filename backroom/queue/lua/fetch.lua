-- Take messages for one worker: promote what is due, take back what dead workers held, then give up to the free
-- capacity over all queues in turn. Repeating it after a lost reply is harmless, because the worker adopts what it holds.
--
-- ARGV   worker, lease ms, capacity (deliveries), 1 if it may declare others dead, number of queues,
--          then for each queue: name, batch size (0: one by one), linger ms, 1 if ordered
-- Reply  ms until the next message is due (-1: none), 1 if more could be taken at once, workers declared dead,
--          messages taken back, of these buried as poison, 1 if this worker had no lease before,
--          then for each message: queue, number of its delivery in this reply, id, token, how often it was delivered, body

local MOST_PROMOTED = 500
local MOST_TRIMMED = 1000
local MOST_BYTES = 4194304      -- of bodies in one delivery, and in one reply
local DEAD_MS = 30 * 86400000
local TRAVELS_ALONE = 2         -- deliveries without an outcome, after which a message is not put into a batch again

local worker, lease, capacity = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local due = -1
local function sooner(when)
  if due < 0 or when < due then due = when end
end

local function reap()
  local dead, back, buried = 0, 0, 0
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', clock, 'LIMIT', 0, 8)) do
    local held, poison = give_back(name, true)
    dead, back, buried = dead + 1, back + held, buried + poison
  end
  return dead, back, buried
end

local function trim()
  local old = redis.call('ZRANGEBYSCORE', DONE, '-inf', clock, 'LIMIT', 0, MOST_TRIMMED)
  if #old == 0 then
    local extra = redis.call('ZCARD', DONE) - MOST_TOMBSTONES
    if extra > 0 then redis.call('ZREMRANGEBYRANK', DONE, 0, math.min(extra, MOST_TRIMMED) - 1) end
  else
    redis.call('ZREM', DONE, unpack(old))
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEAD, '-inf', clock - DEAD_MS, 'LIMIT', 0, 100)) do
    redis.call('ZREM', DEAD, id)
    redis.call('HDEL', BODIES, id)
    redis.call('HDEL', REASONS, id)
  end
end

local function promote(queue)
  local key = delayed_key(queue)
  local ids = redis.call('ZRANGEBYSCORE', key, '-inf', clock, 'LIMIT', 0, MOST_PROMOTED)
  if #ids > 0 then
    redis.call('RPUSH', ready_key(queue), unpack(ids))
    redis.call('ZREM', key, unpack(ids))
  end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then sooner(tonumber(first[2])) end
end

-- Whether messages of this lane may be taken now.
local function open(lane, waiting)
  if lane.batch == 0 and not lane.ordered then return true end
  local key = lane_key(lane.queue)
  local found = redis.call('HMGET', key, 'holder', 'until', 'first')
  if found[1] then
    if redis.call('ZSCORE', WORKERS, found[1]) then return false end
    redis.call('HDEL', key, 'holder', 'count')
  end
  if found[2] then
    if tonumber(found[2]) > clock then
      sooner(tonumber(found[2]))
      return false
    end
    redis.call('HDEL', key, 'until')
  end
  if lane.linger > 0 and waiting < lane.batch then
    local first = tonumber(found[3]) or clock
    if clock < first + lane.linger then
      redis.call('HSET', key, 'first', first, 'full', lane.batch)
      sooner(first + lane.linger)
      return false
    end
  end
  return true
end

-- How many of these fit into one batch: a message that must travel alone ends it, or is all of it.
local function cut_batch(ids, deliveries)
  local alone = redis.call('EXISTS', ALONE) == 1 and redis.call('HMGET', ALONE, unpack(ids)) or {}
  for i = 1, #ids do
    if alone[i] or (tonumber(deliveries[i]) or 0) >= TRAVELS_ALONE then return math.max(i - 1, 1) end
  end
  return #ids
end

local taken, leases, delivery, bytes, full = {}, {}, 0, 0, false

-- Take up to `want` messages from a lane, all in one delivery if it is a batch; say how many deliveries that made.
local function take(lane, want)
  local key = ready_key(lane.queue)
  local ids = redis.call('LRANGE', key, 0, want - 1)
  if #ids == 0 then return 0 end
  local deliveries = redis.call('HMGET', DELIVERIES, unpack(ids))
  local count = lane.batch > 0 and cut_batch(ids, deliveries) or #ids
  local bodies = redis.call('HMGET', MSGS, unpack(ids, 1, count))
  local token = redis.call('INCRBY', base .. 'token', count) - count
  local used, given, made = 0, 0, 0
  for i = 1, count do
    local body = bodies[i]
    if body then
      if bytes > 0 and bytes + #body > MOST_BYTES then
        full = true
        break
      end
      bytes = bytes + #body
      if lane.batch == 0 or given == 0 then delivery, made = delivery + 1, made + 1 end
      given = given + 1
      local nth = (tonumber(deliveries[i]) or 0) + 1
      leases[#leases + 1] = ids[i]
      leases[#leases + 1] = string.format('%d|%s|%d', token + i, lane.queue, nth)
      for _, value in ipairs({lane.queue, delivery, ids[i], token + i, nth, body}) do taken[#taken + 1] = value end
    end
    used = i
  end
  redis.call('LTRIM', key, used, -1)
  if lane.batch > 0 or lane.ordered then
    redis.call('HDEL', lane_key(lane.queue), 'first', 'full')
    if lane.ordered and given > 0 then
      redis.call('HSET', lane_key(lane.queue), 'holder', worker, 'count', given)
    end
  end
  return made
end

even_if_full()
local was_gone = redis.call('ZADD', WORKERS, clock + lease, worker)
local dead, back, buried = 0, 0, 0
if ARGV[4] == '1' then dead, back, buried = reap() end
trim()

local lanes = {}
for i = 1, tonumber(ARGV[5]) do
  local at = 2 + 4 * i
  local lane = {queue = ARGV[at], batch = tonumber(ARGV[at + 1]), linger = tonumber(ARGV[at + 2]), ordered = ARGV[at + 3] == '1'}
  promote(lane.queue)
  local waiting = redis.call('LLEN', ready_key(lane.queue))
  if waiting == 0 then
    redis.call('DEL', base .. 'wake:' .. lane.queue)
  elseif open(lane, waiting) then
    lanes[#lanes + 1] = lane
  end
end

while capacity > 0 and #lanes > 0 and not full do
  local share, left = math.max(1, math.floor(capacity / #lanes)), {}
  for _, lane in ipairs(lanes) do
    if capacity > 0 and not full then
      local want = lane.batch > 0 and lane.batch or (lane.ordered and 1 or math.min(share, capacity, 1000))
      capacity = capacity - take(lane, want)
    end
    local waiting = redis.call('LLEN', ready_key(lane.queue))
    if waiting > 0 and not lane.ordered and (lane.batch == 0 or open(lane, waiting)) then left[#left + 1] = lane end
  end
  lanes = left
end

for at = 1, #leases, 1000 do
  redis.call('HSET', inflight_key(worker), unpack(leases, at, math.min(at + 999, #leases)))
end
-- What is left is for the next worker, which may be asleep.
for _, lane in ipairs(lanes) do wake(lane.queue, 1) end

local reply = {due < 0 and -1 or math.max(0, due - clock), #lanes > 0 and 1 or 0, dead, back, buried, was_gone}
for i = 1, #taken do reply[6 + i] = taken[i] end
return reply
