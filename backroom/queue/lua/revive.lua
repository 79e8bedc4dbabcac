-- Put dead letters back on their queues. They keep their limits; they expire no more, and are not unique any more.
--
-- ARGV   for each: id, queue, line, body
-- Reply  for each: 1 done | 0 it is not dead

local reply, ready, lines = {}, {}, {}
for at = 1, #ARGV, 4 do
  local id, queue, line, body = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local there = call('ZREM', DEAD, id)
  reply[#reply + 1] = there
  if there == 1 then
    local extras = call('HGET', DEAD_EXTRAS, id)
    for _, key in ipairs({BODIES, REASONS, DEAD_EXTRAS}) do call('HDEL', key, id) end
    call('HSET', MSGS, id, body)
    if extras then
      local _, limits = parse_extras(extras)
      if limits ~= '' then call('HSET', EXTRAS, id, '|' .. limits .. '||') end
    end
    lines[queue] = lines[queue] or {}
    add(lines[queue], line, id)
    ready[queue] = (ready[queue] or 0) + 1
  end
end
for queue, count in pairs(ready) do
  for line, ids in pairs(lines[queue]) do line_up(queue, line, ids) end
  wake_ready(queue, count)
end
return reply
