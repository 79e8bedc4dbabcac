-- A worker begins with messages that were taken back from somebody before. If it dies now, they count as begun: that
-- tells a message which kills its workers from one that only waited beside it.
--
-- ARGV   worker, number of messages, then for each: id, token
-- Reply  1 begun | 0 one of them is no longer this worker's; then none is marked

even_if_full()

local key = inflight_key(ARGV[1])
local marks = {}
for i = 1, tonumber(ARGV[2]) do
  local id = ARGV[1 + 2 * i]
  local value = call('HGET', key, id)
  if not value then return 0 end
  local token, nth, _, queue, line = parse_lease(value)
  if token ~= tonumber(ARGV[2 + 2 * i]) then return 0 end
  marks[#marks + 1] = id
  marks[#marks + 1] = lease(token, nth, true, queue, line)
end
call('HSET', key, unpack(marks))
return 1
