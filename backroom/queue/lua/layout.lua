-- Which layout of keys is in use here; the first to ask decides.
--
-- ARGV   the layout that the asking code knows
-- Reply  the layout of these keys

even_if_full()
call('SET', base .. 'layout', ARGV[1], 'NX')
return call('GET', base .. 'layout')
