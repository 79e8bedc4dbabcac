-- needs waiting enqueue
-- Enqueue many messages, some of them together with a hot value. Idempotent: by message id, by once-key, and by nonce.
--
-- ARGV   number of units, then for each unit:
--          0, or 1 and: hot key, expected version ('' for "must not exist"), value, ended 0|1, ttl ms, nonce
--          1 if it is enqueued however full its queues are
--          number of posts, then the posts (see `enqueue`)
-- Reply  for each unit: version (0 without a hot value, -1 on a conflict, -2 where a queue refuses: then none of its
--          posts is enqueued and no value is changed),
--          then for each post: id of the message that stands for it, and 1 fresh | 0 seen before | 2 other fingerprint;
--          of a unit that was refused: the queue, and why

local at = 1
local function take()
  at = at + 1
  return ARGV[at - 1]
end

local function put(key, expected, value, ended, ttl, nonce)
  key = base .. 'hot:' .. key
  local found = call('HMGET', key, 'v', 'e', 'by')
  if found[3] == nonce then return tonumber(found[1]) end
  if found[2] or (found[1] or '') ~= expected then return -1 end
  local version = (tonumber(found[1]) or 0) + 1
  call('HSET', key, 'v', version, 'd', value, 'by', nonce)
  if ended == '1' then call('HSET', key, 'e', 1) end
  call('PEXPIRE', key, ttl)
  return version
end

local refusals = {}
local function refused(first, posts)
  for i = 0, posts - 1 do
    local queue = ARGV[first + 6 * i + 1]
    refusals[queue] = refusals[queue] or refusal(queue)
    if refusals[queue] ~= '' then return queue end
  end
end

local reply = {}
for _ = 1, tonumber(take()) do
  local version, hot = 0, take() == '1' and {take(), take(), take(), take(), take(), take()} or nil
  local always, posts = take() == '1', tonumber(take())
  local full = not always and refused(at, posts)
  if full then
    version = -2
  elseif hot then
    version = put(unpack(hot))
  end
  reply[#reply + 1] = version
  for _ = 1, posts do
    local id, queue, line, body, delay, more = take(), take(), take(), take(), take(), take()
    local state = full and refusals[full] or 0
    if full then
      id = full
    elseif version >= 0 then
      id, state = enqueue(id, queue, line, body, tonumber(delay), more)
    end
    reply[#reply + 1] = id
    reply[#reply + 1] = state
  end
end
arrive()
return reply
