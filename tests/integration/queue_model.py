"""What ought to become of messages, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from backroom.queue.wire import Post

POISON = 5


@dataclass(kw_only=True, slots=True)
class Held:
    """In a worker's hands."""

    worker: str
    token: int
    nth: int
    begun: bool = False


@dataclass(kw_only=True, slots=True)
class Living:
    """An accepted message that is not over. It waits, is delayed, or is held; waiting for a limit is waiting."""

    post: Post
    queue: str
    line: str
    limits: tuple[str, ...]
    delayed: bool = False
    held: Held | None = None
    before: int = 0
    expires: bool = False
    cancelling: bool = False


@dataclass(kw_only=True, slots=True)
class Model:
    """The queue as it should be."""

    living: dict[str, Living] = field(default_factory=dict)
    dead: dict[str, Living] = field(default_factory=dict)
    over: dict[str, str] = field(default_factory=dict)
    unique: dict[str, str] = field(default_factory=dict)
    once: dict[str, tuple[str, str]] = field(default_factory=dict)
    workers: dict[str, bool] = field(default_factory=dict)

    # -- sending

    def enqueue(self, post: Post, line: str) -> tuple[str, bool, bool]:
        """The id that stands for a post, whether it is fresh, and whether it is in conflict with another one."""
        if post.once and post.once.key in self.once:
            first, fingerprint = self.once[post.once.key]
            return first, False, fingerprint != post.once.fingerprint
        if post.id in self.over or post.id in self.dead:
            return post.id, False, False
        if post.unique and post.id not in self.living:
            first = self.unique.get(post.unique.key)
            alive = self.living.get(first) if first else None
            if first and alive and post.unique.replace and not alive.held:
                self.end(first, "cancelled")
            elif first and (alive or post.unique.mode == "p"):
                return first, False, False
        if post.id in self.living:
            return post.id, False, False
        if post.once:
            self.once[post.once.key] = post.id, post.once.fingerprint
        if post.unique:
            self.unique[post.unique.key] = post.id
        delayed = post.delay > timedelta(0)
        self.living[post.id] = Living(post=post, queue=post.queue, line=line, limits=post.limits, delayed=delayed)
        return post.id, True, False

    # -- ends

    def end(self, id: str, how: str) -> None:
        self.leave_life(id)
        self.over[id] = how

    def leave_life(self, id: str) -> Living:
        one = self.living.pop(id)
        unique = one.post.unique
        if unique and unique.mode != "p" and self.unique.get(unique.key) == id:
            del self.unique[unique.key]
        return one

    def bury(self, id: str) -> None:
        self.dead[id] = self.leave_life(id)

    def revive(self, id: str) -> None:
        was = self.dead.pop(id)
        post = Post(job=was.post.job, queue=was.post.queue, message=was.post.message, id=id)
        self.living[id] = Living(post=post, queue=was.queue, line=was.line, limits=was.limits)

    # -- working

    def take(self, id: str, held: Held) -> None:
        one = self.living[id]
        assert one.held is None
        assert not one.delayed
        assert not one.expires
        assert held.nth == one.before + 1
        one.held = held
        unique = one.post.unique
        if unique and unique.mode == "q" and self.unique.get(unique.key) == id:
            del self.unique[unique.key]

    def holds(self, worker: str) -> dict[str, Held]:
        return {id: one.held for id, one in self.living.items() if one.held and one.held.worker == worker}

    def give_back(self, worker: str, *, counted: bool) -> tuple[int, int]:
        """A worker goes or is dead; say how many messages it held, and how many of them were poison."""
        buried = 0
        held = self.holds(worker)
        for id, was in held.items():
            one = self.living[id]
            one.held = None
            suspect = counted and (was.nth == 1 or was.begun)
            if one.cancelling:
                self.end(id, "cancelled")
            elif suspect and was.nth >= POISON:
                self.bury(id)
                buried += 1
            elif suspect:
                one.before = was.nth
        self.workers.pop(worker, None)
        return len(held), buried

    def settle(self, id: str, what: str, *, delayed: bool = False) -> None:
        one = self.living[id]
        one.held = None
        if what == "done":
            self.end(id, "done")
        elif what == "dead":
            self.bury(id)
        elif one.cancelling:
            self.end(id, "cancelled")
        elif what == "again":
            one.before, one.delayed = 0, delayed

    # -- asking

    def waiting(self, queues: Sequence[str]) -> list[str]:
        return [id for id, one in self.living.items() if one.queue in queues and not one.held and not one.delayed]

    def cancel(self, id: str) -> str:
        if id not in self.living:
            return "dead" if id in self.dead else "done" if id in self.over else "unknown"
        if self.living[id].held:
            self.living[id].cancelling = True
            return "asked"
        self.end(id, "cancelled")
        return "cancelled"

    def discard(self, id: str) -> bool:
        if id in self.dead:
            del self.dead[id]
            self.over[id] = "discarded"
            return True
        if id in self.living and not self.living[id].held:
            self.end(id, "discarded")
            return True
        return False

    def purge(self, queue: str) -> int:
        """Nothing is remembered of what is purged."""
        going = [id for id, one in self.living.items() if one.queue == queue and not one.held]
        for id in going:
            self.leave_life(id)
        return len(going)

    # -- time

    def pass_an_hour(self) -> None:
        for one in self.living.values():
            one.delayed = False
            one.expires = one.post.expires is not None
        self.once.clear()
        gone = [key for key, id in self.unique.items() if self._for_a_period(key)]
        for key in gone:
            del self.unique[key]

    @staticmethod
    def _for_a_period(key: str) -> bool:
        return key.startswith("p")
