-- Drop everything that waits in a queue.
--
-- ARGV   queue
-- Reply  how many messages went

local queue, gone = ARGV[1], 0

even_if_full()

local any_empty = call('EXISTS', EMPTY) == 1

-- Those that are still in these places.
local function at_home(line, ids)
  if not any_empty then return ids end
  local found = {}
  for _, id in ipairs(ids) do
    if not leave_empty(queue, line, id) then found[#found + 1] = id end
  end
  return found
end

local function drop(ids)
  for _, id in ipairs(ids) do gone = gone + call('HEXISTS', MSGS, id) end
  forget(ids)
end

for _, class in ipairs(CLASSES) do
  for _, line in ipairs(call('LRANGE', ring_key(queue, class), 0, -1)) do
    drop(at_home(line, call('LRANGE', line_key(queue, line), 0, -1)))
    call('DEL', line_key(queue, line))
  end
  call('DEL', ring_key(queue, class))
end
local later = {}
for _, member in ipairs(call('ZRANGE', delayed_key(queue), 0, -1)) do
  later[#later + 1] = string.match(member, '^[^|]*|(.*)$')
end
drop(later)
call('DEL', delayed_key(queue), base .. 'wake:' .. queue)
call('HDEL', lane_key(queue), 'first', 'full', 'until')
call('HSET', QUEUES, queue, 0)
for _, name in ipairs(call('HKEYS', limited_key(queue))) do
  for _, limit in ipairs(call('ZRANGE', base .. 'waiting:' .. name, 0, -1)) do
    local left = 0
    for _, class in ipairs(CLASSES) do
      local key = base .. 'limited:' .. limit .. ':' .. class
      for _, entry in ipairs(call('LRANGE', key, 0, -1)) do
        local of, line, id = string.match(entry, '^([^|]*)|([^|]*)|(.*)$')
        if of == queue then
          drop(at_home(line, {id}))
          call('LREM', key, 1, entry)
        end
      end
      left = left + call('LLEN', key)
    end
    if left == 0 then call('ZREM', base .. 'waiting:' .. name, limit) end
  end
end
call('DEL', limited_key(queue))
call('HDEL', LIMITED, queue)
return gone
