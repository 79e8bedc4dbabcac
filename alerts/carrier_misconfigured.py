"""Tell administrators when a carrier that refused us takes our letters again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from backroom.domain.rule import Clear, Finding, Sight, rule

# A carrier may take some letters and refuse others (a sender that is not registered for one country): without a while
# of quiet, each pair of them would be an alert and its end.
QUIET = 15 * 60


@rule("carrier.misconfigured", every="* * * * *", severity="critical", settings={"quiet_seconds": QUIET})
def carrier_misconfigured(sight: Sight) -> Iterator[Finding | Clear]:
    """A carrier refuses us rather than a letter: a wrong key, a suspended account, a sender that is not registered."""
    # Deliveries find it out and report it themselves. What is left is to see when it is over.
    quiet = timedelta(seconds=sight.setting("quiet_seconds", QUIET))
    for carrier, seen_at in sight.open().items():
        if sight.now() - seen_at >= quiet and sight.carried(carrier, since=seen_at):
            yield Clear(about=carrier, says=f"{carrier} takes our letters again")
