-- The ids of the dead letters, newest first.
--
-- ARGV   how many, the id after which to go on ('' to begin), when that one died (ms; '' where it must still be dead),
--        the oldest and the newest that are wanted (ms, as ZRANGEBYSCORE takes them)
-- Reply  1, then the ids | 0 where the id to go on after is not dead

local CHUNK = 1000

local limit, after, at, oldest, newest = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if after ~= '' then
  at = tonumber(at ~= '' and at or call('ZSCORE', DEAD, after) or nil)
  if not at then return {0} end
  local most = tonumber((string.gsub(newest, '^%(', '')))
  if not most or at < most then newest = string.format('%.0f', at) end
end

-- Byte by byte, as the engine orders members with the same score; Lua's own comparison depends on the locale.
local function precedes(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local reply, offset = {1}, 0
while true do
  local found = call('ZREVRANGEBYSCORE', DEAD, newest, oldest, 'WITHSCORES', 'LIMIT', offset, CHUNK)
  for i = 1, #found, 2 do
    if after == '' or tonumber(found[i + 1]) < at or precedes(found[i], after) then
      reply[#reply + 1] = found[i]
      if #reply > limit then return reply end
    end
  end
  if #found < 2 * CHUNK then return reply end
  offset = offset + CHUNK
end
