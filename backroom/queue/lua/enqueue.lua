-- How a message comes in: once by its id, by its once-key and by what makes it unique. Used by `send` and by `settle`,
-- after `waiting`.
--
-- A post is six values: id, queue, line, body, delay ms, more. `more` is '' or a JSON object of:
--   once, window, fingerprint   the first message sent with this key within window ms stands for all of them
--   unique, mode, period        a message with this key stands for it while it waits (mode q), waits or runs (r), or for
--                               period ms (p)
--   replace                     take the place of one that still waits
--   ttl                         ms after which it expires
--   limits                      what it counts for, separated by ','

local MOST_WAITING = 1000000    -- in one queue, unless an operator says otherwise
local FRESH, SEEN, CONFLICT = 1, 0, 2

local any_dead = call('EXISTS', DEAD) == 1
local any_done = call('EXISTS', DONE) == 1
local arrivals, counts, order = {}, {}, {}

-- Why a queue takes nothing more: '' if it does.
local function refusal(queue)
  local rules = call('HMGET', rules_key(queue), 'state', 'mark', 'age')
  if rules[1] == 'draining' then return 'draining' end
  local most = tonumber(rules[2] or MOST_WAITING)
  if waiting_in(queue) >= most and waiting_in(queue) - empty_in(queue) >= most then return 'long' end
  if rules[3] then
    local sent = oldest(queue)
    if sent > 0 and clock - sent > tonumber(rules[3]) then return 'late' end
  end
  return ''
end

-- The message that stands for a unique key already, if there is one.
local function stands_for(more)
  local key = base .. 'unique:' .. more.unique
  local first = call('GET', key)
  if not first then return nil end
  local alive = call('HGET', MSGS, first)
  if more.replace and alive and not holder_of(first) then
    drop_waiting(first, alive)
    finish(first, 'cancelled', 'replaced')
    any_done = true
    return nil
  end
  -- A key whose message is gone is nobody's, unless it stands for a while.
  if alive or more.mode == 'p' then return first end
  return nil
end

local function enqueue(id, queue, line, body, delay, more)
  local extras
  if more ~= '' then
    more = cjson.decode(more)
    if more.once then
      local first = call('GET', base .. 'once:' .. more.once)
      if first then
        local first_id, fingerprint = string.match(first, '^([^|]*)|(.*)$')
        return first_id, fingerprint == more.fingerprint and SEEN or CONFLICT
      end
    end
    extras = true
  end
  if any_done and call('ZSCORE', DONE, id) then return id, SEEN end
  if any_dead and call('ZSCORE', DEAD, id) then return id, SEEN end
  if extras and more.unique and call('HEXISTS', MSGS, id) == 0 then
    local first = stands_for(more)
    if first then return first, SEEN end
  end
  if call('HSETNX', MSGS, id, body) == 0 then return id, SEEN end
  if extras then
    if more.once then call('SET', base .. 'once:' .. more.once, id .. '|' .. more.fingerprint, 'PX', more.window) end
    if more.unique and more.mode == 'p' then
      call('SET', base .. 'unique:' .. more.unique, id, 'PX', more.period)
    elseif more.unique then
      call('SET', base .. 'unique:' .. more.unique, id)
    end
    if more.unique or more.ttl or more.limits then
      local expires = more.ttl and string.format('%d', clock + more.ttl) or ''
      call('HSET', EXTRAS, id, table.concat({expires, more.limits or '', more.mode or '', more.unique or ''}, '|'))
    end
  end
  if not counts[queue] then
    counts[queue], arrivals[queue] = 0, {}
    order[#order + 1] = queue
  end
  if delay > 0 then
    local member = line .. '|' .. id
    call('ZADD', delayed_key(queue), clock + delay, member)
    -- A worker may be waiting for a later message than this one.
    if call('ZRANK', delayed_key(queue), member) == 0 then counts[queue] = math.max(counts[queue], 1) end
  else
    add(arrivals[queue], line, id)
    counts[queue] = counts[queue] + 1
  end
  return id, FRESH
end

-- Once for all that came in with this call.
local function arrive()
  for _, queue in ipairs(order) do
    call('HINCRBY', QUEUES, queue, 0)
    for line, ids in pairs(arrivals[queue]) do line_up(queue, line, ids) end
    if counts[queue] > 0 then wake_ready(queue, counts[queue]) end
  end
end
