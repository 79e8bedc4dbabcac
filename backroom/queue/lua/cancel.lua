-- needs waiting
-- Cancel a message: at once while it waits; while a worker holds it, by asking.
--
-- ARGV   id
-- Reply  cancelled | asked | dead | done | unknown

even_if_full()

local id = ARGV[1]
local body = call('HGET', MSGS, id)
if not body then
  if call('ZSCORE', DEAD, id) then return 'dead' end
  return call('ZSCORE', DONE, id) and 'done' or 'unknown'
end
local worker = holder_of(id)
if worker then
  call('HSET', CANCELS, id, worker)
  call('RPUSH', base .. 'wake!' .. worker, '1')
  call('PEXPIRE', base .. 'wake!' .. worker, 5000)
  return 'asked'
end
drop_waiting(id, body)
finish(id, 'cancelled')
return 'cancelled'
