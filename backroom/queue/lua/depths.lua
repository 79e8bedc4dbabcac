-- needs waiting
-- How much each queue holds.
--
-- ARGV   names of queues; none for all that were ever used
-- Reply  for each queue: name, ready, delayed, in flight, waiting for limits, state ('' for open), most in flight ('' for
--        any number), mark ('' for the usual one), when the oldest that could be taken was sent (ms; 0 for none), the age
--        at which nothing more is taken in (ms; '' for any)

local reply = {}
for _, queue in ipairs(#ARGV > 0 and ARGV or call('HKEYS', QUEUES)) do
  local rules = call('HMGET', rules_key(queue), 'state', 'most', 'mark', 'age')
  local empty, empty_limited = empty_in(queue)
  local limited = tonumber(call('HGET', LIMITED, queue) or 0)
  for _, value in ipairs({
    queue, math.max(0, waiting_in(queue) - empty), call('ZCARD', delayed_key(queue)),
    tonumber(call('HGET', BUSY, queue) or 0), math.max(0, limited - empty_limited), rules[1] or '', rules[2] or '', rules[3] or '', oldest(queue),
    rules[4] or '',
  }) do reply[#reply + 1] = value end
end
return reply
