-- What every script starts with. KEYS[1] is the base of all keys, "{prefix}:"; the braces are a hash tag, so that
-- one Backroom lives in one slot of a cluster and every key below may be reached from it.
--
--   msgs                hash    id -> body, from the enqueue until the message is done or dead
--   queues              set     names of the queues ever used
--   ready:<queue>       list    ids, first in first out
--   delayed:<queue>     zset    id -> when it is due (ms, the server's clock)
--   wake:<queue>        list    a few tokens that end a worker's blocking wait
--   lane:<queue>        hash    of a batch or ordered queue: `holder` and `count` of the batch in flight (ordered),
--                               `until` (closed until then), `first` and `full` (lingering since; the size that ends it)
--   inflight:<worker>   hash    id -> "token|queue|delivery"; the token is the fence, and the order for restoring;
--                               "|begun" follows where a later delivery than the first has been begun
--   workers             zset    worker -> when its lease ends (ms, the server's clock)
--   token               string  the last token given
--   deliveries          hash    id -> deliveries without an outcome; only for what was taken back
--   alone               hash    id -> 1 for a message that failed in a batch and travels alone from now on
--   done                zset    id -> when its tombstone goes (ms)
--   once:<key>          string  "id|fingerprint" of the first message sent with this key, for a while
--   dead                zset    id -> when it died (ms); its body in dead:bodies, why in dead:reasons
--   hot:<key>           hash    v version, d value, e 1 if ended, by the last writer's nonce
--   note:<key>          string  empty; a note that the front door leaves for itself (no script touches it)
--   wake!<worker>       list    ends the blocking wait of one worker
--   answer:<id>         list    one element: the outcome of a job that somebody waits for

local base = KEYS[1]
local MSGS, QUEUES, WORKERS = base .. 'msgs', base .. 'queues', base .. 'workers'
local DELIVERIES, ALONE, DONE = base .. 'deliveries', base .. 'alone', base .. 'done'
local DEAD, BODIES, REASONS = base .. 'dead', base .. 'dead:bodies', base .. 'dead:reasons'

local WAKES = 4                 -- tokens in a wake list at most; who leaves messages behind wakes the next
local MOST_DELIVERIES = 5       -- deliveries without an outcome, after which a message is poison
local TOMBSTONE_MS = 600000
local MOST_TOMBSTONES = 1000000

local function ready_key(queue) return base .. 'ready:' .. queue end
local function delayed_key(queue) return base .. 'delayed:' .. queue end
local function lane_key(queue) return base .. 'lane:' .. queue end
local function inflight_key(worker) return base .. 'inflight:' .. worker end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local clock = now_ms()

-- A full engine refuses a script's writes that may take memory, unless the script has written something else before.
-- What empties the queue must go on then, so it begins with this.
local function even_if_full()
  redis.call('DEL', base .. 'nothing')
end

-- Lua's stack limits how many values one command takes.
local function in_chunks(values, call)
  for at = 1, #values, 1000 do
    call(unpack(values, at, math.min(at + 999, #values)))
  end
end

local function wake(queue, count)
  local key = base .. 'wake:' .. queue
  for _ = redis.call('LLEN', key) + 1, math.min(count, WAKES) do
    redis.call('RPUSH', key, '1')
  end
end

-- Wake for messages that have become ready, unless nobody could take them: a held or closed lane is woken when it
-- opens, and a lingering batch when it is full.
local function wake_ready(queue, count)
  local lane = redis.call('HMGET', lane_key(queue), 'holder', 'until', 'full')
  if lane[1] or (lane[2] and tonumber(lane[2]) > clock) then return end
  if lane[3] and redis.call('LLEN', ready_key(queue)) < tonumber(lane[3]) then return end
  wake(queue, count)
end

-- entries: {{id=, token=}, ...} of one queue; they return to its front in the order in which they were taken.
local function put_in_front(queue, entries)
  table.sort(entries, function(a, b) return a.token > b.token end)
  local ids = {}
  for i, entry in ipairs(entries) do ids[i] = entry.id end
  in_chunks(ids, function(...) redis.call('LPUSH', ready_key(queue), ...) end)
end

local function bury(id, reason, body)
  redis.call('HDEL', MSGS, id)
  redis.call('HDEL', DELIVERIES, id)
  redis.call('HDEL', ALONE, id)
  redis.call('ZADD', DEAD, clock, id)
  redis.call('HSET', BODIES, id, body or '')
  redis.call('HSET', REASONS, id, reason)
end

-- A worker has settled `count` messages of a queue: if that was its batch, the lane is free for the next one.
local function leave_lane(worker, queue, count)
  local key = lane_key(queue)
  if redis.call('HGET', key, 'holder') ~= worker then return end
  if redis.call('HINCRBY', key, 'count', -count) <= 0 then
    redis.call('HDEL', key, 'holder', 'count')
  end
end

local function parse_lease(value)
  local token, queue, delivery, begun = string.match(value, '^(%d+)|([^|]*)|(%d+)(|?)')
  return tonumber(token), queue, tonumber(delivery), begun == '|'
end

-- Give back what a worker holds. `counted`: it died with them, so each has one more delivery without an outcome; from
-- the second on only if it was begun, because what only waited beside a poison message is innocent.
local function give_back(worker, counted)
  local held = redis.call('HGETALL', inflight_key(worker))
  local queues, buried = {}, 0
  for i = 1, #held, 2 do
    local id = held[i]
    local token, queue, delivery, begun = parse_lease(held[i + 1])
    local suspect = counted and (delivery == 1 or begun)
    queues[queue] = queues[queue] or {}
    if suspect and delivery >= MOST_DELIVERIES then
      bury(id, 'poison: ' .. delivery .. ' deliveries without an outcome', redis.call('HGET', MSGS, id))
      buried = buried + 1
    else
      if suspect then redis.call('HSET', DELIVERIES, id, delivery) end
      table.insert(queues[queue], {id = id, token = token})
    end
  end
  for queue, entries in pairs(queues) do
    put_in_front(queue, entries)
    if redis.call('HGET', lane_key(queue), 'holder') == worker then
      redis.call('HDEL', lane_key(queue), 'holder', 'count')
    end
    if #entries > 0 then wake(queue, #entries) end
  end
  redis.call('DEL', inflight_key(worker))
  redis.call('ZREM', WORKERS, worker)
  return #held / 2, buried
end
