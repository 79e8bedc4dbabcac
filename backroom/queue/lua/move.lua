-- Move messages that wait in one queue to the end of another, keeping their lines.
--
-- ARGV   from, to, how many at most
-- Reply  how many went, 1 if there may be more: only so much is done in one call

local MOST_SCANNED = 1000
local MOST_BYTES = 4194304

local from, to, most, moved = ARGV[1], ARGV[2], math.min(tonumber(ARGV[3]), 500), 0
local scanned, bytes, left = 0, 0, false
for _, class in ipairs(CLASSES) do
  while moved < most and not left do
    local line = call('LINDEX', ring_key(from, class), 0)
    if not line then break end
    local ids = call('LRANGE', line_key(from, line), 0, most - moved - 1)
    local used, going = 0, {}
    for _, id in ipairs(ids) do
      local body = call('HGET', MSGS, id)
      used, scanned = used + 1, scanned + 1
      if not leave_empty(from, line, id) and body then
        call('HSET', MSGS, id, (string.gsub(body, '^{"queue_name":"[^"]*"', '{"queue_name":"' .. to .. '"', 1)))
        going[#going + 1] = id
        bytes = bytes + #body
      end
      left = scanned >= MOST_SCANNED or bytes >= MOST_BYTES
      if left then break end
    end
    call('LTRIM', line_key(from, line), used, -1)
    if call('EXISTS', line_key(from, line)) == 0 then call('LPOP', ring_key(from, class)) end
    call('HINCRBY', QUEUES, from, -used)
    moved = moved + #going
    if #going > 0 then line_up(to, line, going) end
  end
end
if moved > 0 then wake_ready(to, moved) end
-- Nobody is left that a batch could linger for, or an order wait for.
if waiting_in(from) == 0 then call('HDEL', lane_key(from), 'first', 'full', 'until') end
return {moved, left and 1 or 0}
