-- needs waiting
-- Drop what waits in a queue, a piece in each call, so that the engine is never busy with it for long.
--
-- ARGV   queue, what, and then for
--          mark     a mark that no message has as its id, lines: what is in these lines now stands before the mark
--          lines    the mark, how many places at most, lines: drop what stands before the mark
--          later    how many at most: drop what is due later
--          limited  how many places at most, then for each limit: its key, and how many places of each class are still to be
--                   looked at, or -1 for all there are: drop what waits for it
-- Reply  how many messages went, then for
--          lines    how many of the lines are through
--          later    how many were looked at
--          limited  how many of the limits are through, and of the next one how many places of each class are left to look at

local queue, what, gone = ARGV[1], ARGV[2], 0

even_if_full()

local any_empty = call('EXISTS', EMPTY) == 1

-- Those that are still in these places.
local function at_home(line, ids, limited)
  if not any_empty then return ids end
  local found = {}
  for _, id in ipairs(ids) do
    if not leave_empty(queue, line, id, limited) then found[#found + 1] = id end
  end
  return found
end

-- A mark is a place that is empty, so a worker who comes to it goes on.
local function mark(name, line)
  if call('EXISTS', line_key(queue, line)) == 0 then return end
  call('RPUSH', line_key(queue, line), name)
  call('HINCRBY', QUEUES, queue, 1)
  leave_place(queue, line, name)
end

-- Drop what stands in a line before the mark, as far as that goes; how many places that took, and whether it is through.
local function drop_from_line(name, line, most)
  local key = line_key(queue, line)
  local ids = call('LRANGE', key, 0, most - 1)
  -- A worker has come to the mark: nothing is before it any more.
  if #ids == 0 or call('HEXISTS', EMPTY, queue .. '|' .. line .. '|' .. name) == 0 then return 1, true end
  local going, through = {}, false
  for i, id in ipairs(ids) do
    going[i] = id
    through = id == name
    if through then break end
  end
  gone = gone + forget(at_home(line, going))
  call('LTRIM', key, #going, -1)
  call('HINCRBY', QUEUES, queue, -#going)
  if call('EXISTS', key) == 0 then call('LREM', ring_key(queue, string.sub(line, 1, 1)), 1, line) end
  return #going, through
end

-- Look at the first so many of those who wait for a limit, and put the others behind the rest.
local function drop_from_limit(limit, class, count)
  local key = base .. 'limited:' .. limit .. ':' .. class
  local entries, others, mine = call('LPOP', key, count) or {}, {}, 0
  local ids = {}
  for _, entry in ipairs(entries) do
    local of, line, id = string.match(entry, '^([^|]*)|([^|]*)|(.*)$')
    if of == queue then
      mine = mine + 1
      for _, one in ipairs(at_home(line, {id}, true)) do ids[#ids + 1] = one end
    else
      others[#others + 1] = entry
    end
  end
  in_chunks(others, function(...) call('RPUSH', key, ...) end)
  gone = gone + forget(ids)
  if mine > 0 then wait_no_more(limit_name(limit), queue, mine) end
  return #entries
end

-- Nobody is left that a batch could linger for, or an order wait for.
local function nobody_left()
  if waiting_in(queue) == 0 then call('HDEL', lane_key(queue), 'first', 'full', 'until') end
end

if what == 'mark' then
  for at = 4, #ARGV do mark(ARGV[3], ARGV[at]) end
  return {0}
elseif what == 'lines' then
  local most, through = tonumber(ARGV[4]), 0
  for at = 5, #ARGV do
    if most <= 0 then break end
    local used, done = drop_from_line(ARGV[3], ARGV[at], most)
    most = most - used
    if done then through = through + 1 end
  end
  nobody_left()
  return {gone, through}
elseif what == 'later' then
  local members, ids = call('ZRANGE', delayed_key(queue), 0, tonumber(ARGV[3]) - 1), {}
  for i, member in ipairs(members) do ids[i] = string.match(member, '^[^|]*|(.*)$') end
  if #members > 0 then call('ZREM', delayed_key(queue), unpack(members)) end
  gone = forget(ids)
  nobody_left()
  return {gone, #members}
end

local most, through = tonumber(ARGV[3]), 0
for at = 4, #ARGV, 4 do
  local limit, still, any = ARGV[at], {}, false
  for i, class in ipairs(CLASSES) do
    local key = base .. 'limited:' .. limit .. ':' .. class
    still[i] = tonumber(ARGV[at + i])
    if still[i] < 0 then still[i] = call('LLEN', key) end
    while still[i] > 0 and most > 0 do
      local looked = drop_from_limit(limit, class, math.min(still[i], most))
      most, still[i] = most - looked, looked > 0 and still[i] - looked or 0
    end
    any = any or call('EXISTS', key) == 1
  end
  if still[1] + still[2] + still[3] > 0 then return {gone, through, unpack(still)} end
  if not any then call('ZREM', base .. 'waiting:' .. limit_name(limit), limit) end
  through, most = through + 1, most - 1
  if most <= 0 then break end
end
return {gone, through, -1, -1, -1}
