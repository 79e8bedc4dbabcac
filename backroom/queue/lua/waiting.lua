-- What waits: how to find and drop a message that no worker holds, and how long the oldest has waited.

local function holder_of(id)
  for _, worker in ipairs(call('ZRANGE', WORKERS, 0, -1)) do
    if call('HEXISTS', inflight_key(worker), id) == 1 then return worker end
  end
end

-- The queue and the line that a body names, those that it was sent to; then all lines that it may mean. A Dramatiq
-- program's actor with a priority does not write into its messages which line that makes.
local USUAL_LINE, UNNAMED = '2', {'2', '1', '3'}
local function address(body)
  local read, message = pcall(cjson.decode, body)
  if not read or type(message) ~= 'table' then return '', USUAL_LINE, UNNAMED end
  local options = type(message.options) == 'table' and message.options or {}
  local line = options.line
  return message.queue_name or '', line or USUAL_LINE, line and {line} or UNNAMED
end

-- When a message is due, in whichever queue it waits for that: mostly the one it was sent to.
local function due_at(id, body)
  local named, _, lines = address(body)
  local queues = call('HKEYS', QUEUES)
  table.insert(queues, 1, named)
  for _, queue in ipairs(queues) do
    for _, line in ipairs(lines) do
      local due = call('ZSCORE', delayed_key(queue), line .. '|' .. id)
      if due then return tonumber(due), queue, line end
    end
  end
end

-- The line in which a message stands that waits for nothing: the one that it names, or the one where it is found.
local function line_of(id, queue, lines)
  for at = 2, #lines do
    -- What has extras was sent by ourselves, and names its line.
    if call('HEXISTS', EXTRAS, id) == 0 and call('LPOS', line_key(queue, lines[at]), id) then return lines[at] end
  end
  return lines[1]
end

-- A place in a line, or before a limit, is empty from now on.
local function leave_place(queue, line, id, limited)
  -- Whoever took the last one may have been of an older release, which does not count them.
  if call('EXISTS', EMPTY) == 0 then call('DEL', LEFT) end
  call('HINCRBY', EMPTY, queue .. '|' .. line .. '|' .. id, 1)
  call('HINCRBY', LEFT, limited and queue .. '|' or queue, 1)
end

-- How many of a queue's places are empty: in its lines, and before limits.
local function empty_in(queue)
  if call('EXISTS', EMPTY) == 0 then return 0, 0 end
  local left = call('HMGET', LEFT, queue, queue .. '|')
  return tonumber(left[1] or 0), tonumber(left[2] or 0)
end

-- Whether a message waits for a limit: so it seems where others of its queue do.
local function seems_limited(id, queue)
  local extras = call('HGET', EXTRAS, id)
  if not extras then return false end
  local _, limits = parse_extras(extras)
  local _, left = empty_in(queue)
  if tonumber(call('HGET', LIMITED, queue) or 0) <= left then return false end
  for limit in string.gmatch(limits, '[^,]+') do
    if call('HEXISTS', limited_key(queue), limit_name(limit)) == 1 then return true end
  end
  return false
end

-- Its place in a line, or among those that wait for a limit, goes when somebody comes to it.
local function drop_waiting(id, body)
  local due, queue, line = due_at(id, body)
  if due then
    call('ZREM', delayed_key(queue), line .. '|' .. id)
  else
    local lines
    queue, line, lines = address(body)
    line = line_of(id, queue, lines)
    if queue ~= '' then leave_place(queue, line, id, seems_limited(id, queue)) end
  end
end

local MOST_LINES = 50           -- looked at for the oldest
local MOST_PLACES = 5           -- of each of them, where the first are empty

-- When the oldest message that could be taken was sent (ms); 0 where there is none.
local function oldest(queue)
  local first = 0
  for _, class in ipairs(CLASSES) do
    for _, line in ipairs(call('LRANGE', ring_key(queue, class), 0, MOST_LINES - 1)) do
      local body
      for place = 0, MOST_PLACES - 1 do
        local id = call('LINDEX', line_key(queue, line), place)
        body = id and call('HGET', MSGS, id)
        if body or not id then break end
      end
      local sent = body and tonumber(string.match(body, '"message_timestamp":(%d+)}$')) or 0
      if sent > 0 and (first == 0 or sent < first) then first = sent end
    end
  end
  return first
end
