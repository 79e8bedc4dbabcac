-- A worker has ended, and whoever started it saw that: what it held returns to the front at once, and its lease ends.
--
-- ARGV   worker, 1 if it may have died of what it held: those deliveries are counted
-- Reply  how many messages it held, how many of them were buried as poison

even_if_full()
local held, buried = give_back(ARGV[1], ARGV[2] == '1')
return {held, buried}
