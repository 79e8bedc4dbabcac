"""Every error of the house, in one tree that answers one question: again, or not?

```
BackroomError
├── Permanent               trying again cannot help: the job goes to the dead letters
│   ├── Invalid             what somebody gave us is wrong: which field, what is wrong, what would be right
│   ├── TemplateFailed      a template could not be rendered: where
│   ├── Rejected            a carrier will never take this letter
│   └── Misconfigured       a carrier refuses us, not the letter: stop this account, tell an administrator once
├── Unreachable             a carrier did not answer well: again, perhaps after a given time
├── EngineAway              one of our own engines is gone: again, and no attempt is counted
│   ├── StoreAway           PostgreSQL
│   └── QueueAway           Valkey
├── Full                    a bounded buffer or queue is full: slow down
├── CannotStart             something this machine lacks: what, and how to mend it
└── Outcome                 not a failure, but what a job may decide about itself
    ├── Cancel              stop, and do not come back
    ├── Partial             of a batch, some are done and some are not
    └── Snooze              come back later, and count no attempt
```
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta


class BackroomError(Exception):
    """The root of the tree."""


class Permanent(BackroomError):
    """Trying again cannot help."""


class Invalid(Permanent):
    """What somebody gave us is wrong.

    Args:
        field: JSON Pointer (RFC 6901) to the wrong value, `""` for the whole document.
        wrong: What is wrong with it, in one clause, without repeating the value.
        right: What would be right, or an empty string where `wrong` already says it.
    """

    def __init__(self, field: str, wrong: str, right: str = "") -> None:
        super().__init__(f"{field or 'the document'}: {wrong}" + (f" ({right})" if right else ""))
        self.field = field
        self.wrong = wrong
        self.right = right


class TemplateFailed(Permanent):
    """A template could not be rendered.

    Args:
        template: Path of the template below its shelf, such as `order_shipped/email.de.jinja`.
        line: Line in that file, 1 is the first; 0 where it is not known.
        variable: The variable that was missing or wrong, or an empty string.
        why: The template engine's own words.
    """

    def __init__(self, template: str, *, line: int, variable: str, why: str) -> None:
        super().__init__(f"{template}:{line}: {variable or 'template'}: {why}")
        self.template = template
        self.line = line
        self.variable = variable
        self.why = why


class Rejected(Permanent):
    """A carrier will never take this letter.

    Args:
        reason: The carrier's reason, without addresses or bodies.
        code: The carrier's own code, such as `21610`, where it gave one.
        suppress: Whether this address is dead for every later letter, too.
    """

    def __init__(self, reason: str, *, code: str = "", suppress: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.suppress = suppress


class Misconfigured(Permanent):
    """A carrier refuses us rather than the letter: a wrong key, a suspended account, an unregistered sender."""

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Unreachable(BackroomError):
    """A carrier did not take the letter this time.

    Args:
        reason: What happened, without addresses or bodies.
        code: The carrier's own code or HTTP status, where there is one.
        after: How long the carrier asked us to wait, if it did.
        maybe_sent: Whether the letter may have gone out all the same (a time-out after it was handed over).
    """

    def __init__(
        self, reason: str, *, code: str = "", after: timedelta | None = None, maybe_sent: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.after = after
        self.maybe_sent = maybe_sent


class EngineAway(BackroomError):
    """One of our own engines does not answer. What was asked is neither done nor lost."""


class StoreAway(EngineAway):
    """PostgreSQL does not answer."""


class QueueAway(EngineAway):
    """Valkey does not answer, or refuses to write."""


class Full(BackroomError):
    """A bounded buffer or queue is full.

    Args:
        what: What is full.
        after: When it is worth trying again.
        why: `draining` where it takes nothing because somebody is emptying it, `late` where what it holds is too old,
            `memory` where the engine has little memory left, anything else for a length.
    """

    def __init__(self, what: str, *, after: timedelta = timedelta(seconds=1), why: str = "long") -> None:
        said = {"draining": "is being drained", "late": "is too far behind", "memory": "has little memory left"}
        super().__init__(f"{what} {said.get(why, 'is full')}")
        self.after = after
        self.why = why


class CannotStart(BackroomError):
    """A program of ours cannot start on this machine as it is.

    Args:
        why: What is missing or in the way.
        mend: What to do about it.
    """

    def __init__(self, why: str, *, mend: str) -> None:
        super().__init__(f"{why}\n  To mend it: {mend}")
        self.why = why
        self.mend = mend


class Outcome(BackroomError):
    """What a job may decide about itself."""


class Cancel(Outcome):
    """Stop this job: it is neither done nor failed, and does not come back."""


class Partial(Outcome):
    """A batch job did some of its messages; what it wrote for them is committed.

    Args:
        failures: What each of the others would have raised alone, by its place in the batch, 0 is the first: a
            `Permanent` error sends it to the dead letters, `Snooze` and `Cancel` mean what they say, anything else has
            it tried again.
    """

    def __init__(self, failures: Mapping[int, BaseException]) -> None:
        super().__init__(f"{len(failures)} messages of the batch are not done")
        self.failures = dict(failures)


class Snooze(Outcome):
    """Run this job again later, without counting an attempt.

    Args:
        after: How long to wait.
        why: What the exception says, to whoever debugs the job.
    """

    def __init__(self, after: timedelta, why: str = "") -> None:
        super().__init__(why or f"again in {after}")
        self.after = after
