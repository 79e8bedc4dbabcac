"""A shelf of an application's own, as `BACKROOM_SHELVES` names one: the jobs that the worker runs for an hour."""
