"""What the engine holds of a queue, read key by key, and what must always be true of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

BASE = "{br}:"
HASHES = (
    "msgs",
    "extras",
    "queues",
    "busy",
    "deliveries",
    "alone",
    "progress",
    "cancels",
    "endings",
    "empty",
    "left",
    "limited",
    "turns",
)
DEAD_HASHES = ("dead:bodies", "dead:reasons", "dead:extras")


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A message in a worker's hands."""

    worker: str
    token: int
    nth: int
    begun: bool
    queue: str
    line: str


class Truth:
    """One look at everything."""

    def __init__(self, client: redis.Redis) -> None:
        keys = sorted(key.decode().removeprefix(BASE) for key in client.keys(f"{BASE}*"))
        with client.pipeline(transaction=True) as steps:
            for key in keys:
                _read(steps, key)
            found = dict(zip(keys, map(_text, steps.execute()), strict=True))
        self.keys: dict[str, Any] = found
        for name in HASHES:
            setattr(self, name, found.get(name, {}))
        self.msgs: dict[str, str] = found.get("msgs", {})
        self.workers: dict[str, float] = dict(found.get("workers", []))
        self.done = {id for id, _ in found.get("done", [])}
        self.empty = {place: int(left) for place, left in found.get("empty", {}).items()}
        self.left = {queue: int(count) for queue, count in found.get("left", {}).items()}
        self.kept = [(key.removeprefix("kept:"), id) for key, ids in self._with("kept:") for id, _ in ids]
        self.dead = {id for id, _ in found.get("dead", [])}
        self.lines = {tuple(key.split(":")[1:]): ids for key, ids in self._with("line:")}
        self.rings = {tuple(key.split(":")[1:]): lines for key, lines in self._with("ring:")}
        self.delayed = {
            key.removeprefix("delayed:"): [member.partition("|")[2] for member, _ in members]
            for key, members in self._with("delayed:")
        }
        self.limit_lists = {
            key.removeprefix("limited:"): [entry.split("|") for entry in entries]
            for key, entries in self._with("limited:")
        }
        self.inflight: dict[str, Held] = {}
        self.held_twice: set[str] = set()
        for key, held in self._with("inflight:"):
            for id, value in held.items():
                if id in self.inflight:
                    self.held_twice.add(id)
                token, nth, begun, queue, line = value.split("|", 4)
                self.inflight[id] = Held(
                    worker=key.removeprefix("inflight:"),
                    token=int(token),
                    nth=int(nth),
                    begun=begun == "1",
                    queue=queue,
                    line=line,
                )

    def _with(self, prefix: str) -> Iterator[tuple[str, Any]]:
        return ((key, value) for key, value in self.keys.items() if key.startswith(prefix))

    def lasting(self) -> dict[str, Any]:
        """Everything but what wakes workers up, and when leases end: what a repeated call must leave as it is."""
        passing = ("wake", "workers", "turns", "done")
        return {key: value for key, value in self.keys.items() if not key.startswith(passing)} | {"done": self.done}

    def limits_of(self, id: str) -> list[str]:
        _, limits, _, _ = self.keys.get("extras", {}).get(id, "|||").split("|", 3)
        return [limit for limit in limits.split(",") if limit]

    def unexpired(self, id: str) -> bool:
        expires = self.keys.get("extras", {}).get(id, "|||").split("|", 1)[0]
        return expires != "1"

    def check(self, *, most: dict[str, int]) -> None:
        """What must be true whatever was called, and however often.

        Args:
            most: The limits that allow only so many at once.
        """
        self._check_places()
        self._check_counters()
        self._check_limits(most)
        self._check_leavings()

    def _check_places(self) -> None:
        assert not self.held_twice
        places = Counter(id for ids in self.lines.values() for id in ids)
        places.update(id for ids in self.delayed.values() for id in ids)
        places.update(id for entries in self.limit_lists.values() for _, _, id in entries)
        places.update(list(self.inflight))
        # A place in a line may outlive its message, until somebody comes to it; nothing else may.
        for place, left in self.empty.items():
            assert left > 0
            places[place.rpartition("|")[2]] -= left
        assert {id: count for id, count in places.items() if count} == dict.fromkeys(self.msgs, 1)
        assert set(self.inflight) | {id for ids in self.delayed.values() for id in ids} <= set(self.msgs)
        assert not (set(self.msgs) | self.dead) & self.done
        assert not set(self.msgs) & self.dead
        for queue, line in self.lines:
            assert self.rings.get((queue, line[0]), []).count(line) == 1
        for (queue, _), lines in self.rings.items():
            assert all((queue, line) in self.lines for line in lines)

    def _check_counters(self) -> None:
        waiting, busy, limited = Counter(), Counter(), Counter()
        for (queue, _), ids in self.lines.items():
            waiting[queue] += len(ids)
        for held in self.inflight.values():
            busy[held.queue] += 1
        for entries in self.limit_lists.values():
            limited.update(queue for queue, _, _ in entries)
        # Guessed wrong, an empty place counts as one of the other kind, but it counts.
        empty, left = Counter(), Counter()
        for place, count in self.empty.items():
            empty[place.partition("|")[0]] += count
        for name, count in self.left.items():
            assert count > 0
            left[name.removesuffix("|")] += count
        assert left == empty
        for name, counted in (("queues", waiting), ("busy", busy), ("limited", limited)):
            said = {queue: int(count) for queue, count in self.keys.get(name, {}).items()}
            assert {queue: count for queue, count in said.items() if count} == dict(counted), name
        assert {held.worker for held in self.inflight.values()} <= set(self.workers)
        for key, lane in self._with("lane:"):
            if "holder" in lane:
                queue = key.removeprefix("lane:")
                mine = [one for one in self.inflight.values() if (one.worker, one.queue) == (lane["holder"], queue)]
                assert len(mine) == int(lane["count"])

    def _check_limits(self, most: dict[str, int]) -> None:
        holders = {key.removeprefix("holders:"): ids for key, ids in self._with("holders:")}
        counting = Counter(limit for id in self.inflight for limit in self.limits_of(id) if _name(limit) in most)
        assert {limit: len(ids) for limit, ids in holders.items()} == dict(counting)
        for limit, ids in holders.items():
            assert ids <= set(self.inflight)
            assert len(ids) <= most[_name(limit)]
        for limit, id in self.kept:
            assert id in self.msgs
            assert id not in self.inflight
            assert limit in self.limits_of(id)
        for limit, count in Counter(limit for limit, _ in self.kept).items():
            assert count + len(holders.get(limit, ())) <= most[_name(limit)]
        for key in self.limit_lists:
            # Somebody will look when it opens, and what opens with a holder's end has a holder.
            limit = key.rpartition(":")[0]
            opens = dict(self.keys[f"waiting:{_name(limit)}"])[limit]
            assert opens < float("inf") or len(holders[limit]) >= most[_name(limit)]

    def _check_leavings(self) -> None:
        for name in ("extras", "deliveries", "alone", "progress", "cancels"):
            assert set(self.keys.get(name, {})) <= set(self.msgs), name
        for id, worker in self.keys.get("cancels", {}).items():
            assert self.inflight[id].worker == worker
        assert set(self.keys.get("endings", {})) <= self.done
        bodies, reasons, extras = (set(self.keys.get(name, {})) for name in DEAD_HASHES)
        assert bodies == reasons == self.dead >= extras


def _name(limit: str) -> str:
    return limit.partition("/")[0]


def _read(steps: Any, key: str) -> None:
    kind, full = key.partition(":")[0], BASE + key
    if (
        key in HASHES
        or key in DEAD_HASHES
        or key.startswith(("limited!", "returned:"))
        or kind in {"inflight", "lane", "rules", "limits"}
    ):
        steps.hgetall(full)
    elif kind in {"line", "ring", "wake", "limited"} or key.startswith("wake!"):
        steps.lrange(full, 0, -1)
    elif kind in {"delayed", "workers", "done", "dead", "waiting"} or key.startswith("kept:"):
        steps.zrange(full, 0, -1, withscores=True)
    elif kind == "holders":
        steps.smembers(full)
    else:
        steps.get(full)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {_text(name): _text(one) for name, one in value.items()}
    if isinstance(value, set):
        return set(map(_text, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_text, value))
    return value
