"""The queue on Valkey: how a message is put in, taken out, and settled once.

```
to send        post > wire > unit > sender (threads, event loops)          intake, dialect (Dramatiq's own messages)
to work        broker > readers > hub = fetcher + opening + load + settler  lease, pace, handout, rows, delivery
to decide      middleware: decide > decisions                               finishing, signals, timelimit, patience
to know        life, ops, letters, mend                                     metrics, exposition, tally, counted
for the door   answers, hot, notes, guard                                   running (for a job that runs)
the engine     open > address > route > following                           choose, rabbit
to prove it    faults
lua/           every step that has to happen whole: one file each; common.lua lists every key
```
"""
