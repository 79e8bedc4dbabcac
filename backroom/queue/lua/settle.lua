-- Carry out what a worker decided about messages it holds. A decision with an old token is refused, so repeating the
-- call after a lost reply changes nothing.
--
-- ARGV   worker, number of decisions, then for each: what, id, token, ms, body, note
--          done     the work is complete
--          again    run it again after ms, with this body; note: `alone` keeps it out of batches, `ordered` keeps its turn
--          dead     to the dead letters with this body ('' keeps it); note: the reason
--          release  back to the front of its queue, as if it had never been taken
-- Reply  for each decision: 1 carried out | 0 refused

local worker, count = ARGV[1], tonumber(ARGV[2])
local inflight = inflight_key(worker)

even_if_full()

local held, ids = {}, {}
for i = 1, count do ids[i] = ARGV[3 + 6 * (i - 1) + 1] end
in_chunks(ids, function(...)
  for _, value in ipairs(redis.call('HMGET', inflight, ...)) do held[#held + 1] = value end
end)

local settled, finished, tombstones, front, back, lanes, seen, reply = {}, {}, {}, {}, {}, {}, {}, {}
local sooner = {}

local function add(lists, queue, value)
  lists[queue] = lists[queue] or {}
  table.insert(lists[queue], value)
end

local function again(id, queue, token, ms, body, note)
  redis.call('HSET', MSGS, id, body)
  redis.call('HDEL', DELIVERIES, id)
  if note == 'alone' or note == 'alone ordered' then redis.call('HSET', ALONE, id, 1) end
  if note == 'ordered' or note == 'alone ordered' then
    add(front, queue, {id = id, token = token})
    redis.call('HSET', lane_key(queue), 'until', clock + ms)
  elseif ms > 0 then
    redis.call('ZADD', delayed_key(queue), clock + ms, id)
    -- A worker may be waiting for a later message than this one.
    if redis.call('ZRANK', delayed_key(queue), id) == 0 then sooner[queue] = true end
  else
    add(back, queue, id)
  end
end

for i = 1, count do
  local at = 3 + 6 * (i - 1)
  local what, id, token, ms, body, note = unpack(ARGV, at, at + 5)
  reply[i] = 0
  local holds, queue
  if held[i] then holds, queue = parse_lease(held[i]) end
  if holds and holds == tonumber(token) and not seen[id] then
    reply[i], seen[id] = 1, true
    settled[#settled + 1] = id
    lanes[queue] = (lanes[queue] or 0) + 1
    if what == 'done' then
      finished[#finished + 1] = id
      tombstones[#tombstones + 1] = clock + TOMBSTONE_MS
      tombstones[#tombstones + 1] = id
    elseif what == 'again' then
      again(id, queue, holds, tonumber(ms), body, note)
    elseif what == 'dead' then
      bury(id, note, body ~= '' and body or redis.call('HGET', MSGS, id))
    else
      add(front, queue, {id = id, token = holds})
    end
  end
end

in_chunks(settled, function(...) redis.call('HDEL', inflight, ...) end)
in_chunks(finished, function(...)
  redis.call('HDEL', MSGS, ...)
  redis.call('HDEL', DELIVERIES, ...)
  redis.call('HDEL', ALONE, ...)
end)
in_chunks(tombstones, function(...) redis.call('ZADD', DONE, ...) end)
for queue, entries in pairs(front) do put_in_front(queue, entries) end
for queue, entries in pairs(back) do redis.call('RPUSH', ready_key(queue), unpack(entries)) end
for queue, n in pairs(lanes) do
  local was_held = redis.call('HGET', lane_key(queue), 'holder') == worker
  leave_lane(worker, queue, n)
  local waits = (front[queue] or back[queue] or was_held) and redis.call('LLEN', ready_key(queue)) > 0
  if waits or sooner[queue] then
    wake_ready(queue, 1)
  end
end
return reply
