"""What every channel on the shelf keeps to, found by listing: a new file is tested without touching this one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from backroom.domain.errors import Rejected, Unreachable
from backroom.domain.letter import Channel, Letter, Receipt
from backroom.settings import conf
from backroom.shelf import ChannelFile, Shelves
from backroom.simulator import magic
from backroom.simulator.run import Simulator
from backroom.words import Words

SHELF = Shelves().channels

# Who answers how at the simulator, by medium.
RECIPIENTS = {
    "email": {
        "good": magic.EMAIL_GOOD,
        "refused": magic.EMAIL_REFUSED,
        "limited": magic.EMAIL_LIMITED,
        "flaky": magic.EMAIL_FLAKY,
        "silent": magic.EMAIL_HANGS,
    },
    "sms": {
        "good": magic.NUMBER_GOOD,
        "refused": magic.NUMBER_REFUSED,
        "limited": magic.NUMBER_LIMITED,
        "flaky": magic.NUMBER_FLAKY,
        "silent": magic.NUMBER_HANGS,
    },
}

every_channel = pytest.mark.parametrize("file", SHELF.values(), ids=SHELF)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(Shelves().templates)


@every_channel
def test_a_channel_says_what_it_is(file: ChannelFile) -> None:
    assert file.channel.name == file.name
    assert file.about.endswith(".")
    assert file.channel.medium
    assert isinstance(file.channel.contact, str)
    assert isinstance(file.channel.repeatable, bool)
    assert file.channel.send.__doc__


@every_channel
def test_every_setting_of_a_channel_is_described(file: ChannelFile) -> None:
    for name, field in file.conf.model_fields.items():
        assert field.description, f"{file.name}: setting {name} has no description"
        assert field.description.endswith("."), f"{file.name}: the description of {name} is no sentence"


@every_channel
def test_importing_a_channel_opens_nothing_and_loads_no_sdk(file: ChannelFile) -> None:
    loaded = _modules_loaded_by(f"channels.{file.name}")
    assert loaded == [], f"{file.name} loads these at import; load them where they are used"


@every_channel
def test_a_channel_without_settings_is_off_or_needs_none(file: ChannelFile) -> None:
    found = conf(file.name, file.conf, environ={})
    assert found is None or isinstance(file.channel(found), file.channel)


@every_channel
def test_a_good_letter_arrives_once_with_its_words(file: ChannelFile, simulator: Simulator, words: Words) -> None:
    channel = _channel(file, simulator)
    letter = _letter(channel, _recipient(channel, "good"), words)

    receipt = channel.send(letter)

    assert isinstance(receipt, Receipt)
    assert receipt.provider_id
    if channel.medium in RECIPIENTS:
        (kept,) = simulator.letters(delivery=letter.delivery)
        assert kept["to"] == letter.to
        assert kept["text"].split() == letter.parts["text"].split()
        assert kept.get("subject", "") == letter.parts.get("subject", "")
    else:
        assert receipt.delivered
        assert receipt.keep


@every_channel
def test_a_refused_letter_is_rejected_without_naming_its_reader(
    file: ChannelFile, simulator: Simulator, words: Words
) -> None:
    channel = _channel(file, simulator)
    letter = _letter(channel, _recipient(channel, "refused"), words)

    with pytest.raises(Rejected) as caught:
        channel.send(letter)

    assert caught.value.code
    assert _keeps_quiet(caught.value, letter)


@every_channel
def test_a_carrier_that_asks_for_time_gets_it(file: ChannelFile, simulator: Simulator, words: Words) -> None:
    channel = _channel(file, simulator)
    letter = _letter(channel, _recipient(channel, "limited"), words)

    with pytest.raises(Unreachable) as caught:
        channel.send(letter)

    assert not caught.value.maybe_sent
    assert _keeps_quiet(caught.value, letter)
    assert channel.send(letter).provider_id


@every_channel
def test_a_carrier_in_trouble_is_tried_again_until_it_takes_the_letter(
    file: ChannelFile, simulator: Simulator, words: Words
) -> None:
    channel = _channel(file, simulator)
    letter = _letter(channel, _recipient(channel, "flaky"), words)

    for _ in range(magic.FLAKY_FAILURES):
        with pytest.raises(Unreachable) as caught:
            channel.send(letter)
        assert not caught.value.maybe_sent

    assert channel.send(letter).provider_id


@every_channel
def test_a_letter_handed_over_without_an_answer_may_have_been_sent(
    file: ChannelFile, simulator: Simulator, words: Words
) -> None:
    channel = _channel(file, simulator, timeout_seconds=0.5)
    letter = _letter(channel, _recipient(channel, "silent"), words)

    with pytest.raises(Unreachable) as caught:
        channel.send(letter)

    assert caught.value.maybe_sent
    assert _keeps_quiet(caught.value, letter)


@every_channel
def test_a_carrier_that_is_not_there_has_not_got_the_letter(file: ChannelFile, words: Words) -> None:
    # Port 9 discards: nobody listens there, least of all on a test machine's loopback.
    if not hasattr(file.conf, "simulated"):
        pytest.skip(f"{file.name} has no simulated settings")
    channel = file.channel(file.conf.simulated(url="http://127.0.0.1:9", smtp_port=9))
    letter = _letter(channel, _recipient(channel, "good"), words)
    if channel.medium not in RECIPIENTS:
        pytest.skip(f"{file.name} sends nothing over a network")

    with pytest.raises(Unreachable) as caught:
        channel.send(letter)

    assert not caught.value.maybe_sent


def _channel(file: ChannelFile, simulator: Simulator, **changes: Any) -> Channel:
    if not hasattr(file.conf, "simulated"):
        pytest.skip(f"{file.name} has no simulated settings")
    settings = file.conf.simulated(url=simulator.url, smtp_port=simulator.smtp_port)
    known = {name: value for name, value in changes.items() if name in file.conf.model_fields}
    return file.channel(settings.model_copy(update=known))


def _recipient(channel: Channel, kind: str) -> str:
    if not channel.contact:
        if kind != "good":
            pytest.skip(f"{channel.name} writes to our own store: it has no {kind} recipients")
        return "user-1"
    if channel.medium not in RECIPIENTS:
        pytest.skip(f"the simulator has no {kind} recipient for {channel.medium}")
    return RECIPIENTS[channel.medium][kind]


def _letter(channel: Channel, to: str, words: Words) -> Letter:
    kind = next((kind for kind in words.types.values() if channel.medium in kind.mediums), None)
    if kind is None:
        pytest.skip(f"no notification type is written for {channel.medium}")
    rendered = words.render(
        kind.name,
        channel.medium,
        locale="de-AT",
        time_zone="Europe/Vienna",
        data=kind.example,
        user={"id": "user-1", "name": "Ada Müller"},
        app={"name": "Lantern"},
    )
    return Letter(
        delivery=str(uuid4()),
        app=str(uuid4()),
        user="user-1",
        type=kind.name,
        to=to,
        locale=rendered.locale,
        parts=rendered.parts,
    )


def _keeps_quiet(error: Exception, letter: Letter) -> bool:
    # The whole chain: a log prints all of it.
    chain: list[BaseException] = [error]
    while following := chain[-1].__cause__ or (None if chain[-1].__suppress_context__ else chain[-1].__context__):
        chain.append(following)
    said = " ".join(f"{each!s} {each!r} {vars(each)}" for each in chain)
    return letter.to not in said and letter.parts["text"] not in said


def _modules_loaded_by(module: str) -> list[str]:
    # In a process of its own, which ends at the first socket.
    program = f"""
import json, sys
import msgspec, pydantic, pydantic_settings
from pydantic import BaseModel, ConfigDict, Field, SecretStr, HttpUrl, EmailStr, field_validator, model_validator
import backroom.domain.letter, backroom.domain.errors, structlog
def watch(event, arguments):
    if event.startswith("socket.") and event != "socket.__new__":
        raise RuntimeError(event)
sys.addaudithook(watch)
before = {{name.partition(".")[0] for name in sys.modules}}
import {module}
after = {{name.partition(".")[0] for name in sys.modules}}
print(json.dumps(sorted(after - before - set(sys.stdlib_module_names) - {{"channels", "backroom"}})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    found: list[str] = json.loads(done.stdout)
    return found
