-- needs rates
-- Take messages for one worker: promote what is due, take back what dead workers held, let in whom a limit lets in now,
-- then give up to the free capacity over all queues in turn. Repeating it after a lost reply is harmless, because the
-- worker adopts what it holds.
--
-- ARGV   worker, lease ms, capacity (deliveries), 1 if it may declare others dead, number of limits, number of queues,
--          then for each limit: name, concurrent (0: any number), count, period ms (0: no rate), burst
--          then for each queue: name, batch size (0: one by one), linger ms, 1 if ordered
-- Reply  ms until the next message is due (-1: none), 1 if more could be taken at once, workers declared dead,
--          messages taken back, of these buried as poison, 1 if this worker had no lease before, expired messages,
--          entries whose message is gone although nobody has ended it, number of messages of this worker that somebody
--          wants cancelled, their ids,
--          then for each message: queue, number of its delivery in this reply, id, token, how often it was delivered, body

local MOST_PROMOTED = 500
local MOST_TRIMMED = 1000
local MOST_SCANNED = 2000       -- entries looked at in one call, taken or not
local MOST_BYTES = 4194304      -- of bodies in one delivery, and in one reply
local DEAD_MS = 30 * 86400000
local TRAVELS_ALONE = 2         -- deliveries without an outcome, after which a message is not put into a batch again
local TURN = 10                 -- of so many messages one goes to each lower class that waits, whatever waits above it

local worker, lease_ms, capacity = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local due = -1
local function sooner(when)
  if due < 0 or when < due then due = when end
end

local function reap()
  local dead, back, buried = 0, 0, 0
  for _, name in ipairs(call('ZRANGEBYSCORE', WORKERS, '-inf', clock, 'LIMIT', 0, 8)) do
    local held, poison = give_back(name, true)
    dead, back, buried = dead + 1, back + held, buried + poison
  end
  return dead, back, buried
end

local function trim()
  local old = call('ZRANGEBYSCORE', DONE, '-inf', clock, 'LIMIT', 0, MOST_TRIMMED)
  if #old == 0 then
    local extra = call('ZCARD', DONE) - MOST_TOMBSTONES
    if extra > 0 then old = call('ZRANGE', DONE, 0, math.min(extra, MOST_TRIMMED) - 1) end
  end
  if #old > 0 then
    call('ZREM', DONE, unpack(old))
    call('HDEL', ENDINGS, unpack(old))
  end
  for _, id in ipairs(call('ZRANGEBYSCORE', DEAD, '-inf', clock - DEAD_MS, 'LIMIT', 0, 100)) do
    call('ZREM', DEAD, id)
    for _, key in ipairs({BODIES, REASONS, DEAD_EXTRAS}) do call('HDEL', key, id) end
  end
end

local function promote(queue)
  local key = delayed_key(queue)
  local members = call('ZRANGEBYSCORE', key, '-inf', clock, 'LIMIT', 0, MOST_PROMOTED)
  if #members > 0 then
    local lines = {}
    for _, member in ipairs(members) do
      local line, id = string.match(member, '^([^|]*)|(.*)$')
      add(lines, line, id)
    end
    for line, ids in pairs(lines) do line_up(queue, line, ids) end
    call('ZREM', key, unpack(members))
  end
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then sooner(tonumber(first[2])) end
end

-- Limits. Jobs declare them by name; each value after the slash has its own: `sms.app/<app>`.

local limits, any_kept, any_returned = {}, false, false

-- How many places of a limit are kept for others than this one, and when the first of them is open to all.
local function kept_at(limit, id)
  local key = base .. 'kept:' .. limit
  local until_then = id and call('ZSCORE', key, id)
  if until_then and tonumber(until_then) > clock then return 0, math.huge end
  local first = call('ZRANGEBYSCORE', key, '(' .. clock, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not first[2] then return 0, math.huge end
  return call('ZCOUNT', key, '(' .. clock, '+inf'), tonumber(first[2])
end

-- How many a limit lets through now, or whether it lets in one that may have a place there; when it opens again if none.
local function free_at(limit, rules, id)
  local free, opens = math.huge, nil
  if rules.concurrent > 0 then
    -- Until one of the holders is done; that opens it.
    local kept, when = 0, math.huge
    if any_kept then kept, when = kept_at(limit, id) end
    free = math.max(0, rules.concurrent - call('SCARD', base .. 'holders:' .. limit) - kept)
    if free == 0 then opens = when end
  end
  if rules.every > 0 then
    local room, when = room_in(limit, rules)
    if room < 1 then opens = math.max(opens or 0, when) end
    free = math.min(free, room)
  end
  return free, opens
end

local function pass(limit, rules, id)
  if any_kept then call('ZREM', base .. 'kept:' .. limit, id) end
  if rules.concurrent > 0 then call('SADD', base .. 'holders:' .. limit, id) end
  if rules.every > 0 then count_start(limit, rules) end
end

local function set_opening(name, limit, opens)
  call('ZADD', base .. 'waiting:' .. name, opens == math.huge and '+inf' or opens, limit)
  if opens ~= math.huge then sooner(opens) end
end

-- Whether a message may go in; if not it waits for the limit that is reached: before the others if it was in already, and
-- came back.
local function let_in(queue, line, id, names, was_in)
  local passing = {}
  for limit in string.gmatch(names, '[^,]+') do
    local name = limit_name(limit)
    -- A limit that this worker's code does not declare any more is open.
    if limits[name] then
      local free, opens = free_at(limit, limits[name], id)
      if free < 1 then
        was_in = give_up_places(id, names) or was_in
        local waiting = base .. 'limited:' .. limit .. ':' .. string.sub(line, 1, 1)
        call(was_in and 'LPUSH' or 'RPUSH', waiting, queue .. '|' .. line .. '|' .. id)
        call('HINCRBY', limited_key(queue), name, 1)
        call('HINCRBY', LIMITED, queue, 1)
        set_opening(name, limit, opens)
        return false
      end
      passing[#passing + 1] = {limit, limits[name]}
    end
  end
  for _, one in ipairs(passing) do pass(one[1], one[2], id) end
  return true
end

-- Those who wait for a limit that lets in again return to the front of their lines, urgent ones first.
local function open_limit(name, limit)
  local free, opens = math.huge, nil
  if limits[name] then free, opens = free_at(limit, limits[name]) end
  if free < 1 then return set_opening(name, limit, opens) end
  free = math.min(free, 100)
  local front, gone, left = {}, {}, false
  local any_empty = call('EXISTS', EMPTY) == 1
  for _, class in ipairs(CLASSES) do
    local key = base .. 'limited:' .. limit .. ':' .. class
    local entries = free > 0 and call('LPOP', key, free) or false
    if entries then
      free = free - #entries
      for i, entry in ipairs(entries) do
        local queue, line, id = string.match(entry, '^([^|]*)|([^|]*)|(.*)$')
        gone[queue] = (gone[queue] or 0) + 1
        if not (any_empty and leave_empty(queue, line, id, true)) then
          add(front, queue, {id = id, token = i, line = line})
        end
      end
    end
    left = left or call('EXISTS', key) == 1
  end
  if left then
    call('ZADD', base .. 'waiting:' .. name, clock, limit)
    sooner(clock + 1)
  else
    call('ZREM', base .. 'waiting:' .. name, limit)
  end
  for queue, count in pairs(gone) do wait_no_more(name, queue, count) end
  for queue, entries in pairs(front) do
    put_in_front(queue, entries)
    wake_ready(queue, #entries)
  end
end

-- A limit that no job of this worker declares any more holds nothing back from it.
local function open_forgotten(queue)
  for _, name in ipairs(call('HKEYS', limited_key(queue))) do
    if not limits[name] then
      for _, limit in ipairs(call('ZRANGE', base .. 'waiting:' .. name, 0, 15)) do open_limit(name, limit) end
    end
  end
end

local function open_limits(name)
  local key = base .. 'waiting:' .. name
  for _, limit in ipairs(call('ZRANGEBYSCORE', key, '-inf', clock, 'LIMIT', 0, 16)) do open_limit(name, limit) end
  local next_one = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if next_one and tonumber(next_one) < math.huge then sooner(math.max(clock + 1, tonumber(next_one))) end
end

-- How many messages of this lane may be taken now.
local function open(lane, waiting)
  local rules = call('HMGET', rules_key(lane.queue), 'state', 'most')
  if rules[1] == 'paused' then return 0 end
  local most = math.huge
  if rules[2] then
    most = tonumber(rules[2]) - tonumber(call('HGET', BUSY, lane.queue) or 0)
    if most < 1 then return 0 end
  end
  if lane.batch == 0 and not lane.ordered then return most end
  local key = lane_key(lane.queue)
  local found = call('HMGET', key, 'holder', 'until', 'first')
  if found[1] then
    if call('ZSCORE', WORKERS, found[1]) then return 0 end
    call('HDEL', key, 'holder', 'count')
  end
  if found[2] then
    if tonumber(found[2]) > clock then
      sooner(tonumber(found[2]))
      return 0
    end
    call('HDEL', key, 'until')
  end
  if lane.linger > 0 and waiting < lane.batch then
    local first = tonumber(found[3]) or clock
    if clock < first + lane.linger then
      call('HSET', key, 'first', first, 'full', lane.batch)
      sooner(first + lane.linger)
      return 0
    end
  end
  return most
end

local HEADER = 9
local reply, last, leases, delivery, bytes, scanned, expired, missing, full = {0, 0, 0, 0, 0, 0, 0, 0, 0}, HEADER, {}, 0, 0, 0, 0, 0, false

-- Take up to `want` messages from one line; say how many, and whether the batch they go into must end.
local function take_from_line(lane, line, want, batched)
  local key = line_key(lane.queue, line)
  local ids = call('LRANGE', key, 0, math.min(want, 1000) - 1)
  -- Somebody has deleted the line by hand.
  if #ids == 0 then return 0, false, true end
  local bodies = call('HMGET', MSGS, unpack(ids))
  local deliveries = call('EXISTS', DELIVERIES) == 1 and call('HMGET', DELIVERIES, unpack(ids)) or {}
  local alone = batched and call('EXISTS', ALONE) == 1 and call('HMGET', ALONE, unpack(ids)) or {}
  local extras = call('EXISTS', EXTRAS) == 1 and call('HMGET', EXTRAS, unpack(ids)) or {}
  local any_empty = call('EXISTS', EMPTY) == 1
  local token = call('INCRBY', base .. 'token', #ids) - #ids
  local used, given, ends, place = 0, 0, false, '|0|' .. lane.queue .. '|' .. line
  for i, id in ipairs(ids) do
    local body, before = bodies[i], tonumber(deliveries[i]) or 0
    local left = any_empty and leave_empty(lane.queue, line, id)
    if left then body = nil end
    local single = batched and (alone[i] or before >= TRAVELS_ALONE)
    if body and ((bytes > 0 and bytes + #body > MOST_BYTES) or (single and batched.given + given > 0)) then
      full, ends = not single, true
      break
    end
    used = i
    if not body and not left and not call('ZSCORE', DONE, id) then missing = missing + 1 end
    if body and extras[i] then
      local expires, names, mode, unique = parse_extras(extras[i])
      if expires and expires <= clock then
        finish(id, 'expired')
        body, expired = nil, expired + 1
      elseif names ~= '' and not let_in(lane.queue, line, id, names, before > 0) then
        body = nil
      elseif mode == 'q' then
        unlock(id, mode, unique)
      end
    end
    if body then
      bytes = bytes + #body
      given = given + 1
      if not batched or batched.given + given == 1 then delivery = delivery + 1 end
      leases[#leases + 1] = id
      leases[#leases + 1] = string.format('%d|%d', token + i, before + 1) .. place
      reply[last + 1], reply[last + 2], reply[last + 3] = lane.queue, delivery, id
      reply[last + 4], reply[last + 5], reply[last + 6] = token + i, before + 1, body
      last = last + 6
      if single then
        ends = true
        break
      end
    end
  end
  scanned = scanned + used
  if used > 0 then
    call('LTRIM', key, used, -1)
    call('HINCRBY', QUEUES, lane.queue, -used)
  end
  return given, ends, used == #ids and #ids < want
end

-- Take up to `want` of those that were given back to a lane, the urgent ones first.
local function take_returned(lane, want, batched)
  local key, got, counts, lines = base .. 'returned:' .. lane.queue, 0, {}, {}
  local found = call('HGETALL', key)
  for i = 1, #found, 2 do
    lines[#lines + 1] = found[i]
    counts[found[i]] = tonumber(found[i + 1])
  end
  table.sort(lines)
  for _, line in ipairs(lines) do
    if got >= want or full or scanned >= MOST_SCANNED then break end
    local before = scanned
    local given, ends = take_from_line(lane, line, math.min(counts[line], want - got), batched)
    got = got + given
    if batched then batched.given = batched.given + given end
    -- Others may have come to them in the usual turn.
    local gone = call('EXISTS', line_key(lane.queue, line)) == 0
    if gone then call('LREM', ring_key(lane.queue, string.sub(line, 1, 1)), 1, line) end
    if gone or scanned - before >= counts[line] then
      call('HDEL', key, line)
    elseif scanned > before then
      call('HINCRBY', key, line, before - scanned)
    end
    if ends then return got, true end
  end
  return got, false
end

-- Take up to `want` messages of one class, its lines in turn.
local function take_from_class(lane, class, want, batched)
  local ring, got = ring_key(lane.queue, class), 0
  while got < want and not full and scanned < MOST_SCANNED do
    local line = call('LINDEX', ring, 0)
    if not line then break end
    local lines = call('LLEN', ring)
    local given, ends, emptied = take_from_line(lane, line, math.max(1, math.floor((want - got) / lines)), batched)
    got = got + given
    if batched then batched.given = batched.given + given end
    if emptied or call('EXISTS', line_key(lane.queue, line)) == 0 then
      call('LPOP', ring)
    elseif lines > 1 and not ends then
      call('LMOVE', ring, ring, 'LEFT', 'RIGHT')
    end
    if ends then return got, true end
  end
  return got, false
end

-- Take up to `want` messages from a lane, the urgent ones first but for the share of the others. A batch is one delivery.
local function take(lane, want)
  local batched = lane.batch > 0 and {given = 0} or nil
  local classes = {}
  for _, class in ipairs(CLASSES) do
    if call('EXISTS', ring_key(lane.queue, class)) == 1 then classes[#classes + 1] = class end
  end
  -- The count is wrong where lines were deleted by hand.
  if #classes == 0 then call('HSET', QUEUES, lane.queue, 0) end
  local got, plan, ended = 0, {}, false
  if any_returned then got, ended = take_returned(lane, want, batched) end
  if #classes > 1 and not lane.ordered then
    local turn = call('HINCRBY', base .. 'turns', lane.queue, want)
    local share = math.floor(turn / TURN) - math.floor((turn - want) / TURN)
    -- Where there is room for one only, the lower classes take their share by turns.
    local lower = math.floor(turn / TURN) % 2 == 0 and {classes[2], classes[3]} or {classes[3] or classes[2], classes[2]}
    if share > 0 then
      for _, class in ipairs(lower) do plan[#plan + 1] = {class, share} end
    end
  end
  for _, class in ipairs(classes) do plan[#plan + 1] = {class, want} end
  for _, step in ipairs(plan) do
    if got >= want or ended or full then break end
    local given
    given, ended = take_from_class(lane, step[1], math.min(step[2], want - got), batched)
    got = got + given
  end
  if got > 0 then call('HINCRBY', BUSY, lane.queue, got) end
  if lane.batch > 0 or lane.ordered then
    call('HDEL', lane_key(lane.queue), 'first', 'full')
    if lane.ordered and got > 0 then
      call('HSET', lane_key(lane.queue), 'holder', worker, 'count', got)
    end
  end
  return batched and math.min(got, 1) or got
end

even_if_full()
local asked = cancelled_for(worker)
for _, id in ipairs(asked) do
  last = last + 1
  reply[last] = id
end
local was_gone = call('ZADD', WORKERS, clock + lease_ms, worker)
local dead, back, buried = 0, 0, 0
trim()

local first_queue = 7 + 5 * tonumber(ARGV[5])
for at = 7, first_queue - 1, 5 do limits[ARGV[at]] = limit_rules(unpack(ARGV, at, at + 4)) end
if ARGV[4] == '1' then dead, back, buried = reap() end
if call('EXISTS', KEPT, RETURNED) > 0 then any_kept, any_returned = true, true end
for name in pairs(limits) do open_limits(name) end
if dead > 0 then sooner(clock + 1) end
local any_limited = call('EXISTS', LIMITED) == 1

local lanes = {}
for i = 1, tonumber(ARGV[6]) do
  local at = first_queue + 4 * (i - 1)
  local lane = {queue = ARGV[at], batch = tonumber(ARGV[at + 1]), linger = tonumber(ARGV[at + 2]), ordered = ARGV[at + 3] == '1'}
  promote(lane.queue)
  if any_limited then open_forgotten(lane.queue) end
  local waiting = waiting_in(lane.queue)
  if waiting == 0 then
    call('DEL', base .. 'wake:' .. lane.queue)
  else
    lane.most = open(lane, waiting)
    if lane.most > 0 then lanes[#lanes + 1] = lane end
  end
end

while capacity > 0 and #lanes > 0 and not full and scanned < MOST_SCANNED do
  local share, left = math.max(1, math.floor(capacity / #lanes)), {}
  for _, lane in ipairs(lanes) do
    local before = scanned
    if capacity > 0 and not full then
      local want = lane.batch > 0 and lane.batch or (lane.ordered and 1 or math.min(share, capacity, 1000))
      capacity = capacity - take(lane, math.min(want, lane.most))
    end
    local waiting = waiting_in(lane.queue)
    if waiting > 0 and not lane.ordered and (scanned > before or capacity <= 0) then
      lane.most = open(lane, waiting)
      if lane.most > 0 then left[#left + 1] = lane end
    end
  end
  lanes = left
end

for at = 1, #leases, 1000 do
  call('HSET', inflight_key(worker), unpack(leases, at, math.min(at + 999, #leases)))
end
-- What is left is for the next worker, which may be asleep.
for _, lane in ipairs(lanes) do wake(lane.queue, 1) end

local header = {
  due < 0 and -1 or math.max(0, due - clock), #lanes > 0 and 1 or 0, dead, back, buried, was_gone, expired, missing, #asked,
}
for i = 1, HEADER do reply[i] = header[i] end
return reply
