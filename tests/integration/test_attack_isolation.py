"""A connection that served one application knows nothing of it when it serves the next, however the first one ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, text

from backroom.domain.errors import Invalid
from backroom.store.engine import open_engine
from backroom.store.unit import Store
from backroom.store.view import View
from tests.house import TestHouse

NOTHING = ("", "", 0)
_SEEN = text(
    "SELECT coalesce(current_setting('backroom.app', true), ''), coalesce(current_setting('backroom.user', true), ''),"
    " (SELECT count(*) FROM users)"
)


@pytest.fixture(params=["backroom_door", "backroom_worker"])
def engine(request: pytest.FixtureRequest, house: TestHouse) -> Iterator[Engine]:
    """A pool of one connection, so that everybody gets the same."""
    with house.owner() as owner:
        owner.execute(
            "INSERT INTO users (app_id, id, written_by) VALUES (%s, 'ada', gen_random_uuid())", [house.app.id]
        )
    engine = open_engine(
        house.settings.database_url, door=request.param, connect_timeout=timedelta(seconds=2), connections=1
    )
    yield engine
    engine.dispose()


def left_behind(engine: Engine) -> tuple[str, str, int]:
    with engine.connect() as connection:
        return tuple(connection.execute(_SEEN).one())


def test_nothing_stays_after_a_question_an_error_or_a_change_of_mind(house: TestHouse, engine: Engine):
    view, made = View(engine), []
    event.listen(engine, "connect", lambda *_: made.append(1))

    with view.open(app=house.app.id, user="ada") as read:
        assert read.users.known(["ada"]) == {"ada"}
    assert left_behind(engine) == NOTHING

    with pytest.raises(Invalid), view.open(app=house.app.id, user="ada") as read:
        read.users.one("\0")
    assert left_behind(engine) == NOTHING

    with pytest.raises(ZeroDivisionError), view.open(app=house.app.id) as read:
        read.users.known([str(1 // 0)])
    assert left_behind(engine) == NOTHING
    assert len(made) == 1


def test_a_unit_that_commits_fails_or_is_dropped_leaves_nothing_either(house: TestHouse, engine: Engine):
    another = house.another_app().id
    store = Store(engine)

    for ends in (lambda unit: unit.commit(), lambda unit: unit.close()):
        unit = store.unit(house.app.id)
        assert len(unit.read.users.many(["ada"])) == 1
        ends(unit)
        assert left_behind(engine) == NOTHING

        # The unit goes on in a new transaction, and that is its own application's again.
        stranger = store.unit(another)
        assert unit.read.users.known(["ada"]) == {"ada"}
        unit.close()
        assert stranger.read.users.known(["ada"]) == set()
        stranger.close()

    unit = store.unit(house.app.id)
    with pytest.raises(Invalid):
        unit.read.users.one("\0")
    unit.close()
    assert left_behind(engine) == NOTHING


@pytest.mark.parametrize("id", ["' OR 1=1 --", "ada'); DROP TABLE users; --", "%", "_da", "\\", "ada' UNION SELECT 1"])
def test_an_id_is_never_a_piece_of_a_question(house: TestHouse, id: str):
    client = house.client()
    with house.owner() as owner:
        owner.execute(
            "INSERT INTO users (app_id, id, written_by) VALUES (%s, 'ada', gen_random_uuid())", [house.app.id]
        )

    assert client.get(f"/v1/users/{id.replace('%', '%25')}").status_code == 404
    assert client.get("/v1/records/notes", params={"owner": id}).json()["records"] == []
    answer = client.post(
        "/v1/notifications", json={"type": "sign_in_code", "to": [id], "data": {"code": "1234", "minutes": 1}}
    )
    assert answer.status_code == 422
    assert client.get("/v1/users/ada").status_code == 200
