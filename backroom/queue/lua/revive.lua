-- Put a dead letter back on its queue. It keeps its limits; it expires no more, and is not unique any more.
--
-- ARGV   id, queue, line, body
-- Reply  1 done | 0 it is not dead

local id, queue, line, body = unpack(ARGV)
if call('ZREM', DEAD, id) == 0 then return 0 end
local extras = call('HGET', DEAD_EXTRAS, id)
for _, key in ipairs({BODIES, REASONS, DEAD_EXTRAS}) do call('HDEL', key, id) end
call('HSET', MSGS, id, body)
if extras then
  local _, limits = parse_extras(extras)
  if limits ~= '' then call('HSET', EXTRAS, id, '|' .. limits .. '||') end
end
line_up(queue, line, {id})
wake_ready(queue, 1)
return 1
