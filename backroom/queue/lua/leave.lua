-- A worker goes: what it still holds returns to the front, and its lease ends.
--
-- ARGV   worker
-- Reply  how many messages it gave back

even_if_full()
local held = give_back(ARGV[1], false)
return held
