-- needs rates
-- Ask a limit with a rate for one start more, from within a job.
--
-- ARGV   limit (its name, then its values), count, period ms, burst
-- Reply  0 granted | ms after which it is worth asking again

local limit = ARGV[1]
local rules = limit_rules(limit_name(limit), 0, ARGV[2], ARGV[3], ARGV[4])
if rules.every == 0 then return 0 end
local room, opens = room_in(limit, rules)
if room < 1 then return math.max(1, opens - clock) end
count_start(limit, rules)
return 0
