"""What a container has run into, told in sentences."""

from __future__ import annotations

from tfnode.cgroups.group import Usage
from tfnode.containers.troubles import troubles


def used(**fields: int) -> Usage:
    return Usage(**{"memory": 1, "cpu_seconds": 1.0, "processes": 1, "oom_kills": 0, **fields})  # type: ignore[arg-type]


def never() -> int:
    raise AssertionError("nobody counts what was written while there is room")


def test_who_is_well_has_none() -> None:
    assert troubles(used(), None) == ()


def test_each_is_named_with_its_number() -> None:
    assert troubles(used(oom_kills=1), None) == ("out of memory: once a process was killed at its memory limit",)
    (sentence,) = troubles(used(forks_refused=7), None)
    assert "too many processes: 7 times" in sentence
    (sentence,) = troubles(used(), lambda: 5 << 20)
    assert "disk is nearly full" in sentence
    assert "written 5 MiB" in sentence
    assert len(troubles(used(oom_kills=2, forks_refused=2), lambda: 0)) == 3
