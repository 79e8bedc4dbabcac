-- needs waiting
-- Where a message is.
--
-- ARGV   id
-- Reply  queued | scheduled | running | dead | done | unknown, its body ('' for none), its ending ('' for none),
--        what a running job says about its progress ('' for nothing), when it is due (ms; 0 for now),
--        the worker that holds it ('' for none), 1 if somebody wants it cancelled

local id = ARGV[1]
local body = call('HGET', MSGS, id)
if not body then
  local dead = call('HGET', BODIES, id)
  if dead then return {'dead', dead, '', '', 0, '', 0} end
  local state = call('ZSCORE', DONE, id) and 'done' or 'unknown'
  return {state, '', call('HGET', ENDINGS, id) or '', '', 0, '', 0}
end
local worker = holder_of(id)
if worker then
  return {'running', body, '', call('HGET', PROGRESS, id) or '', 0, worker, call('HEXISTS', CANCELS, id)}
end
local due = due_at(id, body)
return {due and 'scheduled' or 'queued', body, '', '', due or 0, '', 0}
