"""The page about rules is true: the rule it shows is found by listing, and does what the page says."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backroom.domain.alerting import ReportFinding
from backroom.domain.rule import Clear, Finding, Login
from backroom.shelf import Shelves

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-alert-rule.md"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Sight:
    def __init__(self, tries, *open):
        self.tries, self.known = tries, open

    def logins(self, *, within):
        assert within == timedelta(hours=1)
        return self.tries

    def open(self):
        return dict.fromkeys(self.known, NOW)

    def setting(self, _name, default):
        return default


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """The rule of the page, on an application's own shelf."""
    ((name, text),) = re.findall(r"^```python file=(\S+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    file = tmp_path / "howto_rules" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    for package in (file.parent, file.parent.parent):
        (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield Shelves(["howto_rules"]).rules["account.shared"]
    for module in [module for module in sys.modules if module.startswith("howto_rules")]:
        del sys.modules[module]


def logins(count, account="office"):
    return [Login(at=NOW, source=f"203.0.113.{number}", account=account, succeeded=True) for number in range(count)]


def test_the_rule_of_the_page_is_found_by_listing(shown):
    assert shown.about == "An account is signed in to from many places within an hour."
    assert shown.settings == {"sources": 10, "hold_seconds": 0}


def test_the_rule_of_the_page_finds_says_nothing_and_clears(shown):
    (finding,) = shown.check(Sight(logins(10)))
    assert finding == Finding(
        about="account office",
        says="Account office was used from 10 places within an hour",
        evidence={"places": 10},
    )
    assert list(shown.check(Sight(logins(7), "account office"))) == []
    (clear,) = shown.check(Sight(logins(5), "account office"))
    assert isinstance(clear, Clear)
    assert clear.about == "account office"


def test_the_reports_of_the_page_are_reports():
    (text,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    ast.parse(text)
    handed_on = []

    class Tools:
        app = "a"

        def later(self, message):
            handed_on.append(message)

    exec(text, {"tools": Tools(), "ReportFinding": ReportFinding})

    assert [report.state for report in handed_on] == ["firing", "clear"]
