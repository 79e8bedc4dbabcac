-- Renew a worker's lease by the server's clock.
--
-- ARGV   worker, lease ms
-- Reply  1 if it had no lease before: others may have taken what it holds

even_if_full()
return redis.call('ZADD', WORKERS, clock + tonumber(ARGV[2]), ARGV[1])
