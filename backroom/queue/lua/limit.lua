-- Set what an operator wants of a limit in place of what jobs declare, or take that back. Whoever waits for it is looked
-- at again by the next fetch: some of them with each call, so ask again until there are none.
--
-- ARGV   its name, "concurrent|count|period ms|burst" ('' to take it back)
-- Reply  1 if it was set before, 1 if there are more that wait for it

local MOST_LOOKED_AT = 500

local name, value = ARGV[1], ARGV[2]
local was_set = call('HEXISTS', base .. 'limits', name)
if value == '' then call('HDEL', base .. 'limits', name) else call('HSET', base .. 'limits', name, value) end
local found = call('ZRANGEBYSCORE', base .. 'waiting:' .. name, '(' .. clock, '+inf', 'LIMIT', 0, MOST_LOOKED_AT)
for _, limit in ipairs(found) do look_again(limit) end
return {was_set, #found == MOST_LOOKED_AT and 1 or 0}
