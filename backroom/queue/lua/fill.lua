-- Bring a hot value back from the store, if nothing newer and no tombstone is there.
--
-- ARGV   key, version, value, ttl ms
-- Reply  1 filled | 0 left as it is

local key = base .. 'hot:' .. ARGV[1]
local found = call('HMGET', key, 'v', 'e')
if found[2] or (found[1] and tonumber(found[1]) >= tonumber(ARGV[2])) then return 0 end
call('HSET', key, 'v', ARGV[2], 'd', ARGV[3])
call('PEXPIRE', key, ARGV[4])
return 1
