"""However the saves of sessions are delivered (late, twice, in any order), the memory ends up with the truth."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from backroom import connect
from backroom.domain.session import Save, begin, newest
from backroom.store.unit import Store
from tests.house import TestHouse

NOW = datetime.now(UTC)


def history(chance: random.Random, token_hash: str) -> list[Save]:
    """Every save of a session from its beginning, perhaps to its end."""
    session = begin(user="", state={"n": 1}, idle=timedelta(hours=1), lifetime=timedelta(hours=2), now=NOW)
    saves = []
    for revision in range(1, chance.randint(2, 8)):
        saves.append(Save(token_hash=token_hash, revision=revision, session=session, at=NOW, ended=False))
        session = session.with_state({"n": revision + 1}, now=NOW + timedelta(seconds=revision))
    if chance.random() < 0.5:
        saves.append(Save(token_hash=token_hash, revision=len(saves) + 1, session=session, at=NOW, ended=True))
    return saves


def test_saves_may_come_in_any_order_and_any_company(house: TestHouse) -> None:
    chance = random.Random(20261123)
    engine = connect.engine(house.settings, door="backroom_worker", connections=1)
    store = Store(engine)
    histories = {f"{number:064x}": history(chance, f"{number:064x}") for number in range(200)}
    delivered = [save for saves in histories.values() for save in saves]
    delivered += chance.choices(delivered, k=len(delivered) // 2)
    chance.shuffle(delivered)

    while delivered:
        size = chance.randint(1, 60)
        batch, delivered = delivered[:size], delivered[size:]
        unit = store.unit(house.app.id)
        unit.write.sessions.save(newest(batch, now=NOW))
        unit.commit()
    engine.dispose()

    found = {
        token_hash: (revision, version, state, ended_at is not None)
        for token_hash, revision, version, state, ended_at in house.owner().execute(
            "SELECT token_hash, revision, version, state, ended_at FROM sessions"
        )
    }
    assert found == {
        token_hash: (
            saves[-1].revision,
            saves[-1].session.version,
            {} if saves[-1].ended else saves[-1].session.state,
            saves[-1].ended,
        )
        for token_hash, saves in histories.items()
    }
