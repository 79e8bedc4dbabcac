"""Each import contract fires when somebody breaks it, and only that one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.scratch import run_in, scratch_copy

LINT = str(Path(sys.executable).with_name("lint-imports"))
VERDICT = re.compile(r"^(\d)\. .* (KEPT|BROKEN)$", re.MULTILINE)


def broken_contracts(copy: Path) -> set[str]:
    done = run_in(copy, LINT, "--no-cache")
    verdicts = dict(VERDICT.findall(done.stdout))
    assert sorted(verdicts) == ["1", "2", "3", "4", "5", "6"], done.stdout + done.stderr
    broken = {number for number, verdict in verdicts.items() if verdict == "BROKEN"}
    assert done.returncode == bool(broken)
    return broken


def test_the_tree_as_it_stands_keeps_all_six(tmp_path):
    assert broken_contracts(scratch_copy(tmp_path)) == set()


@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [
        pytest.param("1", "backroom/domain/keys.py", "import backroom.settings", id="a decision reads the settings"),
        pytest.param("1", "backroom/connect.py", "import jobs.user_put", id="the heart knows a shelf"),
        pytest.param("2", "api_shim/routes/users.py", "import channels.inbox", id="the front door sends"),
        pytest.param("2", "api_shim/routes/users.py", "import backroom.store.write", id="the front door writes"),
        pytest.param("3", "jobs/user_put.py", "import redis", id="a job opens an engine"),
        pytest.param("4", "channels/inbox.py", "import channels.email_smtp", id="a channel leans on another"),
        pytest.param("4", "alerts/low_memory.py", "import alerts.suspicious_login", id="a rule leans on another"),
        pytest.param("5", "workers/room.py", "import scheduler", id="somebody starts the clock"),
        pytest.param("6", "jobs/delivery_attempt.py", "import jobs.notification_send", id="jobs go round"),
    ],
)
def test_one_offending_import_breaks_its_contract_and_no_other(contract, file, line, tmp_path):
    copy = scratch_copy(tmp_path)
    (copy / file).write_text((copy / file).read_text() + f"\n{line}\n")

    assert broken_contracts(copy) == {contract}
