-- How rates are counted: GCRA, one number for each limit, the theoretical arrival time of the next start.

-- A limit's numbers: what an operator has set, or what the code declares.
local function limit_rules(name, concurrent, count, period, burst)
  local set = call('HGET', base .. 'limits', name)
  if set then concurrent, count, period, burst = string.match(set, '^(%d+)|(%d+)|(%d+)|(%d+)$') end
  count, period, burst = tonumber(count), tonumber(period), tonumber(burst)
  return {concurrent = tonumber(concurrent), every = period > 0 and period / count or 0, burst = math.max(burst, 1)}
end

-- These rules never count further ahead than their burst: what is further was counted by others, before a limit was eased
-- (or by a clock that was ahead of this one), and holds nobody back any more.
local function arrival_of(limit, rules)
  local arrival = tonumber(call('GET', base .. 'limit:' .. limit)) or 0
  if arrival > clock + rules.burst * rules.every + 1 then return clock end
  return math.max(arrival, clock)
end

-- How many starts a rate has room for now, and when (ms) it has room for one.
local function room_in(limit, rules)
  local arrival = arrival_of(limit, rules)
  local room = math.floor((clock - arrival) / rules.every + rules.burst + 1e-6)
  return math.max(room, 0), math.ceil(arrival - (rules.burst - 1) * rules.every)
end

local function count_start(limit, rules)
  local arrival = arrival_of(limit, rules) + rules.every
  call('SET', base .. 'limit:' .. limit, string.format('%.3f', arrival), 'PX', math.ceil(arrival - clock) + 1000)
end
