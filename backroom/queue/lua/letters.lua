-- Dead letters by their ids. Bodies are large, so ask for a few.
--
-- ARGV   ids
-- Reply  for each that is dead: id, when it died (ms), reason, body

local reply = {}
for _, id in ipairs(ARGV) do
  local at = call('ZSCORE', DEAD, id)
  if at then
    for _, value in ipairs({id, tonumber(at), call('HGET', REASONS, id) or '', call('HGET', BODIES, id) or ''}) do
      reply[#reply + 1] = value
    end
  end
end
return reply
