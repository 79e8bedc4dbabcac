-- needs waiting
-- Put messages back into line that are in no place at all: somebody has deleted a key by hand.
--
-- ARGV   ids
-- Reply  how many were put back

-- Whether a message waits for one of its limits; where somebody has deleted those, for any.
local function waits_for_limit(id, queue, line)
  local extras, entry, class = call('HGET', EXTRAS, id), queue .. '|' .. line .. '|' .. id, string.sub(line, 1, 1)
  if extras then
    local _, limits = parse_extras(extras)
    for limit in string.gmatch(limits, '[^,]+') do
      if call('LPOS', base .. 'limited:' .. limit .. ':' .. class, entry) then return true end
    end
    return false
  end
  for _, name in ipairs(call('HKEYS', limited_key(queue))) do
    for _, limit in ipairs(call('ZRANGE', base .. 'waiting:' .. name, 0, -1)) do
      if call('LPOS', base .. 'limited:' .. limit .. ':' .. class, entry) then return true end
    end
  end
  return false
end

local function stands_somewhere(id, body)
  if holder_of(id) or due_at(id, body) then return true end
  local _, _, lines = address(body)
  for _, queue in ipairs(call('HKEYS', QUEUES)) do
    for _, line in ipairs(lines) do
      if call('LPOS', line_key(queue, line), id) or waits_for_limit(id, queue, line) then return true end
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
