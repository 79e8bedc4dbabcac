-- Note what a running job says about how far it is, unless its message is over: somebody else may have ended it.
--
-- ARGV   id, what it says
-- Reply  1 noted | 0 the message is over

if call('HEXISTS', MSGS, ARGV[1]) == 0 then return 0 end
call('HSET', PROGRESS, ARGV[1], ARGV[2])
return 1
