-- What every script starts with. KEYS[1] is the base of all keys, "{prefix}:"; the braces are a hash tag, so that
-- one Backroom lives in one slot of a cluster and every key below may be reached from it.
--
-- A message waits in a line: "<class><app>", where the class is 1 urgent, 2 normal or 3 bulk, and the app may be empty.
--
--   layout              string  the version of this layout; code that knows another one touches nothing
--   msgs                hash    id -> body, from the enqueue until the message is done or dead
--   extras              hash    id -> "expires|limits|mode|unique key", only for messages that have any of these:
--                               when it expires (ms), limits separated by ',', what ends its uniqueness
--   queues              hash    queue -> how many entries its lines have
--   line:<queue>:<line> list    ids, first in first out
--   ring:<queue>:<class> list   the lines of a class that hold something; the first is served next, then goes to the end
--   returned:<queue>    hash    line -> how many at its front were given back lately: they had their turn, and are taken first
--   returned            string  there as long as any may have been
--   turns               hash    queue -> messages taken; decides when a lower class is served before a higher one
--   empty               hash    "queue|line|id" -> places there that a message has left without being taken: it was cancelled,
--                               discarded or replaced, and whoever comes to its place goes on
--   left                hash    queue -> how many of its places are empty in lines; "queue|" -> before limits. It means
--                               nothing without `empty`
--   delayed:<queue>     zset    "line|id" -> when it is due (ms, the server's clock)
--   wake:<queue>        list    a few tokens that end a worker's blocking wait
--   rules:<queue>       hash    what an operator has set: `state` paused or draining, `most` messages in flight,
--                               `mark` and `age` (ms) above which enqueuing is refused
--   lane:<queue>        hash    of a batch or ordered queue: `holder` and `count` of the batch in flight (ordered),
--                               `until` (closed until then), `first` and `full` (lingering since; the size that ends it)
--   busy                hash    queue -> messages that workers hold
--   inflight:<worker>   hash    id -> "token|delivery|begun|queue|line"; the token is the fence, and the order for
--                               restoring; begun is 1 where a later delivery than the first has been begun
--   workers             zset    worker -> when its lease ends (ms, the server's clock)
--   token               string  the last token given
--   deliveries          hash    id -> deliveries without an outcome; only for what was taken back
--   alone               hash    id -> 1 for a message that failed in a batch and travels alone from now on
--   progress            hash    id -> what a running job says about how far it is
--   cancels             hash    id -> worker that was asked to stop working on it
--   done                zset    id -> when its tombstone goes (ms)
--   endings             hash    id -> how it ended, as JSON; only where there is more to tell than that it is done
--   once:<key>          string  "id|fingerprint" of the first message sent with this key, for a while
--   unique:<key>        string  id of the message that stands for the key
--   limits              hash    name of a limit -> "concurrent|count|period ms|burst" that an operator has set
--   limit:<limit>       string  of a limit with a rate: the theoretical arrival time (ms) of GCRA
--   holders:<limit>     set     ids that are in flight and count for a limit
--   kept:<limit>        zset    id that was in flight and was given back -> until when (ms) its place is kept for it
--   kept                string  there as long as any place may be kept
--   limited:<limit>:<class> list "queue|line|id" of what waits for a limit
--   limited!<queue>     hash    name of a limit -> how many messages of this queue wait for it
--   limited             hash    queue -> how many of its messages wait for limits
--   waiting:<name>      zset    limit of this name that has somebody waiting -> when it opens again (ms)
--   dead                zset    id -> when it died (ms); its body in dead:bodies, why in dead:reasons, its extras in
--                               dead:extras
--   hot:<key>           hash    v version, d value, e 1 if ended, by the last writer's nonce
--   note:<key>          string  empty; a note that the front door leaves for itself (no script touches it)
--   wake!<worker>       list    ends the blocking wait of one worker
--   answer:<id>         list    one element: the outcome of a job that somebody waits for

local base = KEYS[1]
local MSGS, EXTRAS, QUEUES, WORKERS, BUSY = base .. 'msgs', base .. 'extras', base .. 'queues', base .. 'workers', base .. 'busy'
local DELIVERIES, ALONE, PROGRESS, CANCELS = base .. 'deliveries', base .. 'alone', base .. 'progress', base .. 'cancels'
local DONE, ENDINGS, LIMITED, EMPTY = base .. 'done', base .. 'endings', base .. 'limited', base .. 'empty'
local LEFT, KEPT, RETURNED = base .. 'left', base .. 'kept', base .. 'returned'
local DEAD, BODIES, REASONS, DEAD_EXTRAS = base .. 'dead', base .. 'dead:bodies', base .. 'dead:reasons', base .. 'dead:extras'

local CLASSES = {'1', '2', '3'}
local WAKES = 4                 -- tokens in a wake list at most; who leaves messages behind wakes the next
local MOST_DELIVERIES = 5       -- deliveries without an outcome, after which a message is poison
local TOMBSTONE_MS = 600000
local MOST_TOMBSTONES = 1000000
local KEPT_MS = 10000           -- for so long a message that is given back keeps its places within limits
local RETURNED_MS = 60000       -- and for so long it is taken before what has not had its turn yet

local call = redis.call

local function line_key(queue, line) return base .. 'line:' .. queue .. ':' .. line end
local function ring_key(queue, class) return base .. 'ring:' .. queue .. ':' .. class end
local function delayed_key(queue) return base .. 'delayed:' .. queue end
local function lane_key(queue) return base .. 'lane:' .. queue end
local function rules_key(queue) return base .. 'rules:' .. queue end
local function inflight_key(worker) return base .. 'inflight:' .. worker end
local function limited_key(queue) return base .. 'limited!' .. queue end
local function limit_name(limit) return string.match(limit, '^[^/]*') end

local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local clock = now_ms()

-- A full engine refuses a script's writes that may take memory, unless the script has written something else before.
-- What empties the queue must go on then, so it begins with this.
local function even_if_full()
  call('DEL', base .. 'nothing')
end

-- Lua's stack limits how many values one command takes.
local function in_chunks(values, use)
  for at = 1, #values, 1000 do
    use(unpack(values, at, math.min(at + 999, #values)))
  end
end

local function add(lists, key, value)
  lists[key] = lists[key] or {}
  table.insert(lists[key], value)
end

local function waiting_in(queue)
  return tonumber(call('HGET', QUEUES, queue) or 0)
end

local function wake(queue, count)
  local key = base .. 'wake:' .. queue
  for _ = call('LLEN', key) + 1, math.min(count, WAKES) do
    call('RPUSH', key, '1')
  end
end

-- Wake for messages that have become ready, unless nobody could take them: a held or closed lane is woken when it
-- opens, and a lingering batch when it is full.
local function wake_ready(queue, count)
  local lane = call('HMGET', lane_key(queue), 'holder', 'until', 'full')
  if lane[1] or (lane[2] and tonumber(lane[2]) > clock) then return end
  if lane[3] and waiting_in(queue) < tonumber(lane[3]) then return end
  if call('HGET', rules_key(queue), 'state') == 'paused' then return end
  wake(queue, count)
end

-- Put ids into a line: at its end, or before what stands there, in their order.
local function line_up(queue, line, ids, in_front)
  local push, length = in_front and 'LPUSH' or 'RPUSH', 0
  if in_front then
    local turned = {}
    for i = #ids, 1, -1 do turned[#turned + 1] = ids[i] end
    ids = turned
  end
  in_chunks(ids, function(...) length = call(push, line_key(queue, line), ...) end)
  -- A line is in its ring while it holds something.
  if length == #ids then call(push, ring_key(queue, string.sub(line, 1, 1)), line) end
  call('HINCRBY', QUEUES, queue, #ids)
end

-- entries: {{id=, token=, line=}, ...} of one queue; they return to the front in the order in which they were taken.
local function put_in_front(queue, entries)
  table.sort(entries, function(a, b) return a.token < b.token end)
  local lines = {}
  for _, entry in ipairs(entries) do add(lines, entry.line, entry.id) end
  for line, ids in pairs(lines) do line_up(queue, line, ids, true) end
  return lines
end

-- The same for what was given back. The front of a line is not enough: other lines and classes have their turns.
local function take_back(queue, entries)
  local key = base .. 'returned:' .. queue
  for line, ids in pairs(put_in_front(queue, entries)) do call('HINCRBY', key, line, #ids) end
  if #entries > 0 then
    call('PEXPIRE', key, RETURNED_MS)
    call('SET', RETURNED, 1, 'PX', RETURNED_MS)
  end
end

local function parse_lease(value)
  local token, nth, begun, queue, line = string.match(value, '^(%d+)|(%d+)|(%d)|([^|]*)|(.*)$')
  return tonumber(token), tonumber(nth), begun == '1', queue, line
end

local function lease(token, nth, begun, queue, line)
  return string.format('%d|%d|%d|%s|%s', token, nth, begun and 1 or 0, queue, line)
end

local function parse_extras(value)
  local expires, limits, mode, key = string.match(value, '^(%d*)|([^|]*)|(%a?)|(.*)$')
  return tonumber(expires), limits, mode, key
end

local function each_extra(ids, use)
  if call('EXISTS', EXTRAS) == 0 then return end
  for _, id in ipairs(ids) do
    local value = call('HGET', EXTRAS, id)
    if value then use(id, parse_extras(value)) end
  end
end

-- What is unique for a while stays so, whatever becomes of its message.
local function unlock(id, mode, key)
  if key ~= '' and mode ~= 'p' and call('GET', base .. 'unique:' .. key) == id then call('DEL', base .. 'unique:' .. key) end
end

-- Whether this is a place that was left; then it is one no more. The same id may stand for a message again meanwhile, once
-- its tombstone is gone, and that one has a place of its own.
local function leave_empty(queue, line, id, limited)
  local place = queue .. '|' .. line .. '|' .. id
  local left = tonumber(call('HGET', EMPTY, place) or 0)
  if left == 0 then return false end
  if left == 1 then call('HDEL', EMPTY, place) else call('HINCRBY', EMPTY, place, -1) end
  -- Where it was when it was left is a guess, so it may be counted elsewhere.
  local here, there = queue, queue .. '|'
  if limited then here, there = there, here end
  if call('HEXISTS', LEFT, here) == 0 then here = there end
  if call('HINCRBY', LEFT, here, -1) <= 0 then call('HDEL', LEFT, here) end
  return true
end

-- Something about a limit has changed: the next fetch looks whether those who wait for it may go in.
local function look_again(limit)
  local key = base .. 'waiting:' .. limit_name(limit)
  if not call('ZSCORE', key, limit) then return end
  call('ZADD', key, clock, limit)
  for _, class in ipairs(CLASSES) do
    local first = call('LINDEX', base .. 'limited:' .. limit .. ':' .. class, 0)
    if first then wake(string.match(first, '^[^|]*'), 1) end
  end
end

-- These are in flight no more: whoever waits for their limits may be next. The places of those that go back into line,
-- `back[id]`, are kept for them: they would wait behind everybody who came while they ran.
local function leave_limits(ids, back)
  each_extra(ids, function(id, _, limits)
    for limit in string.gmatch(limits, '[^,]+') do
      if call('SREM', base .. 'holders:' .. limit, id) == 1 then
        if back[id] then
          call('ZADD', base .. 'kept:' .. limit, clock + KEPT_MS, id)
          call('PEXPIRE', base .. 'kept:' .. limit, KEPT_MS)
          call('SET', KEPT, 1, 'PX', KEPT_MS)
        end
        look_again(limit)
      end
    end
  end)
end

-- A message does not go in where a place was kept for it; say whether there was one.
local function give_up_places(id, limits)
  local any = false
  if limits == '' or call('EXISTS', KEPT) == 0 then return any end
  for limit in string.gmatch(limits, '[^,]+') do
    if call('ZREM', base .. 'kept:' .. limit, id) == 1 then
      look_again(limit)
      any = true
    end
  end
  return any
end

-- So many messages of a queue do not wait for a limit of this name any more.
local function wait_no_more(name, queue, count)
  if call('HINCRBY', LIMITED, queue, -count) <= 0 then call('HDEL', LIMITED, queue) end
  if call('HINCRBY', limited_key(queue), name, -count) <= 0 then call('HDEL', limited_key(queue), name) end
end

-- These are over: nothing is left of them but what the caller writes. Say how many there were.
local function forget(ids)
  each_extra(ids, function(id, _, limits, mode, key)
    unlock(id, mode, key)
    give_up_places(id, limits)
    call('HDEL', EXTRAS, id)
  end)
  local rare, gone = call('EXISTS', DELIVERIES, ALONE, PROGRESS, CANCELS) > 0, 0
  in_chunks(ids, function(...)
    gone = gone + call('HDEL', MSGS, ...)
    if rare then
      for _, key in ipairs({DELIVERIES, ALONE, PROGRESS, CANCELS}) do call('HDEL', key, ...) end
    end
  end)
  return gone
end

local function bury(id, reason, body)
  local extras = call('HGET', EXTRAS, id)
  forget({id})
  call('ZADD', DEAD, clock, id)
  call('HSET', BODIES, id, body or '')
  call('HSET', REASONS, id, reason)
  if extras then call('HSET', DEAD_EXTRAS, id, extras) end
end

-- A message is over without a worker's word.
local function finish(id, state, note)
  forget({id})
  call('ZADD', DONE, clock + 6 * TOMBSTONE_MS, id)
  call('HSET', ENDINGS, id, cjson.encode({state = state, at = clock, note = note}))
end

-- A worker has settled `count` messages of a queue: if that was its batch, the lane is free for the next one.
local function leave_lane(worker, queue, count)
  local key = lane_key(queue)
  if call('HGET', key, 'holder') ~= worker then return end
  if call('HINCRBY', key, 'count', -count) <= 0 then
    call('HDEL', key, 'holder', 'count')
  end
end

-- Those messages of a worker that somebody wants cancelled.
local function cancelled_for(worker)
  local found = {}
  if call('EXISTS', CANCELS) == 1 then
    local asked = call('HGETALL', CANCELS)
    for i = 1, #asked, 2 do
      if asked[i + 1] == worker then found[#found + 1] = asked[i] end
    end
  end
  return found
end

-- Give back what a worker holds. `counted`: it died with them, so each has one more delivery without an outcome; from
-- the second on only if it was begun, because what only waited beside a poison message is innocent.
local function give_back(worker, counted)
  local held = call('HGETALL', inflight_key(worker))
  local queues, ids, back, buried = {}, {}, {}, 0
  for i = 1, #held, 2 do
    ids[#ids + 1] = held[i]
    back[held[i]] = true
  end
  leave_limits(ids, back)
  for i = 1, #held, 2 do
    local id = held[i]
    local token, nth, begun, queue, line = parse_lease(held[i + 1])
    local suspect = counted and (nth == 1 or begun)
    queues[queue] = queues[queue] or {}
    call('HINCRBY', BUSY, queue, -1)
    if call('HDEL', CANCELS, id) == 1 then
      finish(id, 'cancelled')
    elseif suspect and nth >= MOST_DELIVERIES then
      bury(id, 'poison: ' .. nth .. ' deliveries without an outcome', call('HGET', MSGS, id))
      buried = buried + 1
    else
      if suspect then call('HSET', DELIVERIES, id, nth) end
      table.insert(queues[queue], {id = id, token = token, line = line})
    end
  end
  for queue, entries in pairs(queues) do
    take_back(queue, entries)
    if call('HGET', lane_key(queue), 'holder') == worker then
      call('HDEL', lane_key(queue), 'holder', 'count')
    end
    if #entries > 0 then wake(queue, #entries) end
  end
  call('DEL', inflight_key(worker))
  call('ZREM', WORKERS, worker)
  return #held / 2, buried
end
