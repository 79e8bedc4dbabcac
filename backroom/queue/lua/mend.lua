-- needs waiting
-- Put messages back into line that are in no place at all: somebody has deleted a key by hand.
--
-- ARGV   ids
-- Reply  how many were put back

local function stands_somewhere(id, body)
  if holder_of(id) or due_at(id, body) then return true end
  for _, queue in ipairs(call('HKEYS', QUEUES)) do
    for _, class in ipairs(CLASSES) do
      for _, line in ipairs(call('LRANGE', ring_key(queue, class), 0, -1)) do
        if call('LPOS', line_key(queue, line), id) then return true end
      end
    end
    for _, limit in ipairs(call('SMEMBERS', base .. 'limited!' .. queue)) do
      for _, class in ipairs(CLASSES) do
        for _, entry in ipairs(call('LRANGE', base .. 'limited:' .. limit .. ':' .. class, 0, -1)) do
          if string.match(entry, '^[^|]*|[^|]*|(.*)$') == id then return true end
        end
      end
    end
  end
  return false
end

local mended = 0
for _, id in ipairs(ARGV) do
  local body = call('HGET', MSGS, id)
  if body and not stands_somewhere(id, body) then
    local queue, line = address(body)
    if queue ~= '' then
      line_up(queue, line, {id})
      wake_ready(queue, 1)
      mended = mended + 1
    end
  end
end
return mended
