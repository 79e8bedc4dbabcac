-- Ask a limit with a rate for one start more, from within a job.
--
-- ARGV   limit (its name, then its values), count, period ms, burst
-- Reply  0 granted | ms after which it is worth asking again

local key, every, burst = base .. 'limit:' .. ARGV[1], tonumber(ARGV[3]) / tonumber(ARGV[2]), tonumber(ARGV[4])
local set = call('HGET', base .. 'limits', limit_name(ARGV[1]))
if set then
  local _, count, period, most = string.match(set, '^(%d+)|(%d+)|(%d+)|(%d+)$')
  if tonumber(period) == 0 then return 0 end
  every, burst = tonumber(period) / tonumber(count), math.max(1, tonumber(most))
end
local arrival = math.max(tonumber(call('GET', key)) or 0, clock)
local wait = arrival - (burst - 1) * every - clock
if wait > 0 then return math.ceil(wait) end
call('SET', key, string.format('%.3f', arrival + every), 'PX', math.ceil(arrival + every - clock) + 1000)
return 0
