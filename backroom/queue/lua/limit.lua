-- Set what an operator wants of a limit in place of what jobs declare, or take that back. Whoever waits for it is looked
-- at again by the next fetch.
--
-- ARGV   its name, "concurrent|count|period ms|burst" ('' to take it back)
-- Reply  1 if it was set before

local name, value = ARGV[1], ARGV[2]
local was_set = call('HEXISTS', base .. 'limits', name)
if value == '' then call('HDEL', base .. 'limits', name) else call('HSET', base .. 'limits', name, value) end
for _, limit in ipairs(call('ZRANGE', base .. 'waiting:' .. name, 0, -1)) do look_again(limit) end
return was_set
