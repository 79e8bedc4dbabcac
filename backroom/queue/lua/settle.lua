-- needs waiting enqueue
-- Carry out what a worker decided about messages it holds, and enqueue what follows from each, in the same step. A
-- decision with an old token is refused with all that follows from it, so repeating the call after a lost reply changes
-- nothing.
--
-- ARGV   worker, number of decisions, then for each: what, id, token, ms, body, note, number of posts, then the posts
--        (see `enqueue`; they are enqueued however full their queues are). A post without a queue stands for a group:
--        its id names the group whose member this is, its delay how long the count is kept for the others, and what
--        comes after it is enqueued by the last member only
--          done     the work is complete; ms: how long that is remembered; body: its ending as JSON ('' for none)
--          again    run it again after ms, with this body; note: `alone` keeps it out of batches, `ordered` keeps its turn
--          dead     to the dead letters with this body ('' keeps it); note: the reason
--          release  back to the front of its queue, as if it had never been taken
-- Reply  for each decision: 1 carried out | 0 refused

local worker, count = ARGV[1], tonumber(ARGV[2])
local inflight = inflight_key(worker)

even_if_full()

-- Where each decision begins, and what the worker holds of it.
local starts, ids, held, at = {}, {}, {}, 3
for i = 1, count do
  starts[i], ids[i] = at, ARGV[at + 1]
  at = at + 7 + 6 * tonumber(ARGV[at + 6])
end
in_chunks(ids, function(...)
  for _, value in ipairs(call('HMGET', inflight, ...)) do held[#held + 1] = value end
end)

local settled, finished, tombstones, endings, others, front, back, lanes, seen, reply = {}, {}, {}, {}, {}, {}, {}, {}, {}, {}
local released, following = {}, {}

local sooner = {}

local function again(id, queue, line, token, ms, body, note)
  if call('HDEL', CANCELS, id) == 1 then return finish(id, 'cancelled') end
  call('HSET', MSGS, id, body)
  call('HDEL', DELIVERIES, id)
  if note == 'alone' or note == 'alone ordered' then call('HSET', ALONE, id, 1) end
  if note == 'ordered' or note == 'alone ordered' then
    add(front, queue, {id = id, token = token, line = line})
    call('HSET', lane_key(queue), 'until', clock + ms)
  elseif ms > 0 then
    local member = line .. '|' .. id
    call('ZADD', delayed_key(queue), clock + ms, member)
    -- A worker may be waiting for a later message than this one.
    if call('ZRANK', delayed_key(queue), member) == 0 then sooner[queue] = true end
  else
    back[queue] = back[queue] or {}
    add(back[queue], line, id)
  end
end

-- Count a member of a group, and say whether it was the last.
local function is_last(group, ttl)
  local key = base .. 'group:' .. group
  if call('EXISTS', key) == 0 then return false end
  if call('DECR', key) > 0 then
    call('PEXPIRE', key, ttl)
    return false
  end
  call('DEL', key)
  return true
end

for i = 1, count do
  local start, id, value = starts[i], ids[i], held[i]
  local token = ARGV[start + 2]
  reply[i] = 0
  if value and string.sub(value, 1, #token + 1) == token .. '|' and not seen[id] then
    local _, _, _, queue, line = parse_lease(value)
    reply[i], seen[id] = 1, true
    settled[#settled + 1] = id
    lanes[queue] = (lanes[queue] or 0) + 1
    local what, ms, body = ARGV[start], tonumber(ARGV[start + 3]), ARGV[start + 4]
    if what == 'done' then
      finished[#finished + 1] = id
      tombstones[#tombstones + 1] = clock + ms
      tombstones[#tombstones + 1] = id
      if body ~= '' then
        endings[#endings + 1] = id
        endings[#endings + 1] = body
      end
    else
      others[#others + 1] = {what, id, queue, line, tonumber(token), ms, body, ARGV[start + 5]}
      released[id] = what == 'release'
    end
    if tonumber(ARGV[start + 6]) > 0 then following[#following + 1] = start end
  end
end

in_chunks(settled, function(...) call('HDEL', inflight, ...) end)
leave_limits(settled, released)

for _, one in ipairs(others) do
  local what, id, queue, line, token, ms, body, note = unpack(one)
  if what == 'again' then
    again(id, queue, line, token, ms, body, note)
  elseif what == 'dead' then
    bury(id, note, body ~= '' and body or call('HGET', MSGS, id))
  elseif call('HDEL', CANCELS, id) == 1 then
    finish(id, 'cancelled')
  else
    add(front, queue, {id = id, token = token, line = line})
  end
end

if #finished > 0 then forget(finished) end
in_chunks(tombstones, function(...) call('ZADD', DONE, ...) end)
in_chunks(endings, function(...) call('HSET', ENDINGS, ...) end)
for queue, entries in pairs(front) do take_back(queue, entries) end
for queue, lines in pairs(back) do
  for line, waiting in pairs(lines) do line_up(queue, line, waiting) end
end
-- Only now, so that what is over is not in the way of what follows from it: a job that asks for itself again is unique.
if #following > 0 then
  any_done, any_dead = true, true
  for _, start in ipairs(following) do
    local wanted = true
    for post = 0, tonumber(ARGV[start + 6]) - 1 do
      local id, queue, line, body, delay, more = unpack(ARGV, start + 7 + 6 * post, start + 12 + 6 * post)
      if queue == '' then
        wanted = is_last(id, delay)
      elseif wanted then
        enqueue(id, queue, line, body, tonumber(delay), more)
      end
    end
  end
  arrive()
end
for queue, n in pairs(lanes) do
  call('HINCRBY', BUSY, queue, -n)
  local was_held = call('HGET', lane_key(queue), 'holder') == worker
  local was_most = call('HEXISTS', rules_key(queue), 'most') == 1
  leave_lane(worker, queue, n)
  local ready = (front[queue] or back[queue] or was_held or was_most) and waiting_in(queue) > 0
  if ready or sooner[queue] then
    wake_ready(queue, 1)
  end
end
return reply
