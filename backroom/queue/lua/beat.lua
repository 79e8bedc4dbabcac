-- Renew a worker's lease by the server's clock.
--
-- ARGV   worker, lease ms
-- Reply  1 if it had no lease before: others may have taken what it holds; then the ids of those of its messages that
--        somebody wants cancelled

even_if_full()
return {call('ZADD', WORKERS, clock + tonumber(ARGV[2]), ARGV[1]), unpack(cancelled_for(ARGV[1]))}
