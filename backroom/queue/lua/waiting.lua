-- What waits: how to find and drop a message that no worker holds, and how long the oldest has waited.

local function holder_of(id)
  for _, worker in ipairs(call('ZRANGE', WORKERS, 0, -1)) do
    if call('HEXISTS', inflight_key(worker), id) == 1 then return worker end
  end
end

-- The queue and the line that a body names: those that it was sent to.
local function address(body)
  local read, message = pcall(cjson.decode, body)
  if not read or type(message) ~= 'table' then return '', '2' end
  local options = type(message.options) == 'table' and message.options or {}
  return message.queue_name or '', options.line or '2'
end

-- When a message is due, in whichever queue it waits for that: mostly the one it was sent to.
local function due_at(id, body)
  local named, line = address(body)
  local due = call('ZSCORE', delayed_key(named), line .. '|' .. id)
  if due then return tonumber(due), named, line end
  for _, queue in ipairs(call('HKEYS', QUEUES)) do
    due = call('ZSCORE', delayed_key(queue), line .. '|' .. id)
    if due then return tonumber(due), queue, line end
  end
end

-- Its place in a line, or among those that wait for a limit, goes when somebody comes to it.
local function drop_waiting(id, body)
  local due, queue, line = due_at(id, body)
  if due then
    call('ZREM', delayed_key(queue), line .. '|' .. id)
  else
    queue, line = address(body)
    if queue ~= '' then call('HINCRBY', EMPTY, queue .. '|' .. line .. '|' .. id, 1) end
  end
end

local MOST_LINES = 50           -- looked at for the oldest

-- When the oldest message that could be taken was sent (ms); 0 where there is none.
local function oldest(queue)
  local first = 0
  for _, class in ipairs(CLASSES) do
    for _, line in ipairs(call('LRANGE', ring_key(queue, class), 0, MOST_LINES - 1)) do
      local id = call('LINDEX', line_key(queue, line), 0)
      local body = id and call('HGET', MSGS, id)
      local sent = body and tonumber(string.match(body, '"message_timestamp":(%d+)}$')) or 0
      if sent > 0 and (first == 0 or sent < first) then first = sent end
    end
  end
  return first
end
