"""How many workers there are and how they work is said by options, or by the environment's settings."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from backroom.settings import Settings
from workers.__main__ import _options, _plan
from workers.order import outcome
from workers.supervisor_child import Plan


def plan(*words: str, **settings: object) -> Plan:
    return _plan(_options(Settings(_env_file=None, **settings)).parse_args(words))


def test_without_options_it_is_what_the_settings_say():
    assert plan(
        worker_processes=3,
        worker_threads=2,
        worker_queues="urgent, default",
        worker_stop_seconds=7,
        worker_grace_seconds=5,
        worker_recycle_jobs=10,
        worker_recycle_mib=200,
    ) == Plan(
        processes=3,
        threads=2,
        queues=("urgent", "default"),
        stop_within=timedelta(seconds=7),
        grace=timedelta(seconds=5),
        recycle_jobs=10,
        recycle_mib=200,
    )


def test_an_option_wins():
    found = plan("--processes", "4", "--queues", "quiet", worker_processes=3, worker_queues="urgent")

    assert (found.processes, found.queues) == (4, ("quiet",))


def test_every_setting_of_a_worker_has_an_option():
    said = _options(Settings(_env_file=None)).format_help().replace("\n", " ")

    assert [name for name in Settings.model_fields if name.startswith("worker_") and name.upper() not in said] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--threads", "0"), "takes a number from 1 to 1000, not 0"),
        (("--processes", "many"), "takes a number from 1 to 256, not 'many'"),
        (("--recycle-after-jobs", "-1"), "takes a number from 0, not -1"),
        (("--thread", "1"), "unrecognized arguments"),
    ],
)
def test_a_number_that_is_wrong_is_refused_with_what_would_be_right(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        plan(*words)

    assert end.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "said"), [(0, "exit code 0"), (-signal.SIGKILL, "SIGKILL"), (-(signal.SIGRTMIN + 3), "signal 37")]
)
def test_an_end_is_told_in_words(code, said):
    assert outcome(code) == said
