"""Low memory is found within the limit that applies, on hosts, in control groups of version 2 and of version 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from alerts.low_memory import low_memory
from backroom.domain.rule import DECLARATION, Clear, Finding, Host
from workers.memory import this_host

MIB = 2**20
GIB = 2**30
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass
class Sight:
    """A sight of these hosts."""

    machines: list[Host] = field(default_factory=list)
    settings: dict[str, float] = field(default_factory=dict)
    known: dict[str, datetime] = field(default_factory=dict)

    def now(self):
        return NOW

    def open(self):
        return self.known

    def hosts(self):
        return self.machines

    def setting(self, name, default):
        return self.settings.get(name, default)


def host(available, limit=100, limited_by="host"):
    return Host(name="web-1", memory_limit=limit, memory_available=available, limited_by=limited_by)


def look(*machines, **settings):
    return list(low_memory(Sight(list(machines), settings)))


def test_it_says_how_much_is_left_of_what_and_who_limits_it():
    (finding,) = look(host(412 * MIB, int(9.6 * GIB), "cgroup"))

    assert finding.about == "web-1"
    assert finding.says == "4.2 % of memory is available on web-1 (412 MiB of 9.6 GiB, limited by the control group)"
    assert finding.evidence == {
        "available": "412 MiB",
        "limit": "9.6 GiB (the control group)",
        "fires_below": "10 %",
    }


def test_a_machine_that_is_gone_is_cleared_after_an_hour_and_no_other():
    ages = {"web-1": 90, "gone": 60, "elsewhere": 59}
    sight = Sight([host(12)], known={name: NOW - timedelta(minutes=age) for name, age in ages.items()})

    assert list(low_memory(sight)) == [Clear(about="gone", says="gone has not been seen short of memory for an hour")]


@pytest.mark.parametrize(
    ("available", "says"), [(9, Finding), (10, None), (12, None), (15, None), (16, Clear), (100, Clear)]
)
def test_between_the_two_levels_it_says_nothing(available, says):
    assert [type(one) for one in look(host(available))] == ([says] if says else [])


def test_an_administrator_sets_both_levels():
    assert isinstance(look(host(50), fires_below=1.0)[0], Finding)
    assert look(host(50), clears_above=0.6) == []


def test_it_looks_every_minute_and_holds_for_two():
    rule = getattr(low_memory, DECLARATION)

    assert (rule.name, rule.scope, rule.severity, rule.every) == ("memory.low", "host", "critical", "* * * * *")
    assert rule.hold == timedelta(minutes=2)
    assert rule.settings == {"fires_below": 0.10, "clears_above": 0.15, "hold_seconds": 120}


# The reader -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path):
    """A root with 8 GiB, 6 of them available; files are added by path."""

    def write(files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return this_host(tmp_path)

    write({"proc/meminfo": f"MemTotal: {8 * 2**20} kB\nMemFree: 100 kB\nMemAvailable:  {6 * 2**20} kB\n"})
    return write


def test_a_plain_machine_has_its_own_limit(machine):
    found = machine({})

    assert (found.memory_limit, found.memory_available, found.limited_by) == (8 * GIB, 6 * GIB, "host")
    assert found.name


def test_version_2_takes_the_tightest_group_up_to_the_root(machine):
    found = machine(
        {
            "proc/self/cgroup": "0::/shop/worker\n",
            "sys/fs/cgroup/memory.stat": "inactive_file 1\n",
            "sys/fs/cgroup/shop/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/shop/memory.current": f"{900 * MIB}\n",
            "sys/fs/cgroup/shop/memory.stat": f"anon 1\ninactive_file {100 * MIB}\nactive_file 7\n",
            "sys/fs/cgroup/shop/worker/memory.max": "max\n",
            "sys/fs/cgroup/shop/worker/memory.current": f"{10 * MIB}\n",
            "sys/fs/cgroup/shop/worker/memory.stat": "inactive_file 0\n",
        }
    )

    assert (found.memory_limit, found.limited_by) == (GIB, "cgroup")
    assert found.memory_available == GIB - 800 * MIB


def test_version_2_inside_a_container_reads_the_root_of_its_mount(machine):
    found = machine(
        {
            "proc/self/cgroup": "0::/system.slice/container-7.scope\n",
            "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
            "sys/fs/cgroup/memory.current": f"{GIB}\n",
            "sys/fs/cgroup/memory.stat": "inactive_file 0\n",
        }
    )

    assert (found.memory_limit, found.memory_available) == (2 * GIB, GIB)


def test_version_1_counts_the_cache_of_the_groups_below(machine):
    found = machine(
        {
            "proc/self/cgroup": "9:cpu,cpuacct:/\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{5 * GIB}\n",
            "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/docker/abc/memory.stat": f"inactive_file 5\ntotal_inactive_file {256 * MIB}\n",
        }
    )

    assert (found.memory_limit, found.memory_available, found.limited_by) == (GIB, 256 * MIB, "cgroup")


def test_a_hybrid_machine_without_limits_is_a_plain_one(machine):
    found = machine(
        {
            "proc/self/cgroup": "4:memory:/\n0::/user.slice\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
            "sys/fs/cgroup/unified/user.slice/memory.events": "oom 0\n",
        }
    )

    assert (found.memory_limit, found.limited_by) == (8 * GIB, "host")


def test_a_group_outside_of_the_mount_is_not_looked_for(machine):
    found = machine({"proc/self/cgroup": "0::/../../elsewhere\n"})

    assert found.limited_by == "host"


def test_this_very_machine_can_be_read():
    found = this_host()

    assert 0 < found.memory_available <= found.memory_limit
