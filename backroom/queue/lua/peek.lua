-- The messages that wait in a queue, the next ones first. Bodies are large, so ask for a few.
--
-- ARGV   queue, how many
-- Reply  for each: id, its body

local queue, most, reply = ARGV[1], tonumber(ARGV[2]), {}
for _, class in ipairs(CLASSES) do
  for _, line in ipairs(call('LRANGE', ring_key(queue, class), 0, most - 1)) do
    if #reply >= 2 * most then return reply end
    for _, id in ipairs(call('LRANGE', line_key(queue, line), 0, most - 1)) do
      local body = call('HGET', MSGS, id)
      if body and #reply < 2 * most then
        reply[#reply + 1] = id
        reply[#reply + 1] = body
      end
    end
  end
end
return reply
