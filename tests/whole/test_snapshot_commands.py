"""`tf snapshots` as people type it, at a real location."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import private_location, said, sleeper
from tfnz.commands.tables import size_of, time_of
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


class Tf:
    """The command, where `place` is the private location."""

    def __init__(self, place: PrivateLocation) -> None:
        self._environment = os.environ | place.environment

    def __call__(self, *arguments: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "tfnz.cli", "snapshots", *arguments]
        if arguments[0] != "--help":
            command += ["--location", "local"]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def tf(place: PrivateLocation) -> Tf:
    return Tf(place)


def test_what_is_kept_is_listed_for_people_and_programs(location: Location, tf: Tf, tiny: str) -> None:
    assert "nothing is kept at local" in tf("list")
    assert json.loads(tf("list", "--json")) == []
    container = sleeper(location, tiny)
    said(container, "head -c 2000000 /dev/urandom > /big")
    first = container.keep("seeded", labels={"why": "test"}, seconds=90000)
    second = container.keep(evictable=True)
    head, *lines = tf("list").splitlines()
    assert head.split() == ["ID", "NAME", "IMAGE", "SIZE", "AGE", "GOES", "IN", "NODE", "LABELS"]
    assert lines[0].startswith(f"{first.id}  seeded ")
    assert "1d 0h" in lines[0] or "1d" in lines[0]
    assert lines[0].endswith("why=test")
    assert lines[1].startswith(f"{second.id}  -")
    assert "when full" in lines[1]
    found: list[dict[str, Any]] = json.loads(tf("list", "--json"))
    assert [one["id"] for one in found] == [first.id, second.id]
    assert found[0] == {
        "id": first.id, "name": "seeded", "image": first.image, "size": first.size, "created": first.created,
        "expires": first.expires, "evictable": False, "node": location.node().name, "labels": {"why": "test"},
    }  # fmt: skip
    assert f"seeded ({first.id}) is gone" in tf("rm", "seeded", second.id)
    assert location.kept() == []


def test_all_are_known_before_one_goes(location: Location, tf: Tf, tiny: str) -> None:
    kept = sleeper(location, tiny).keep("seeded")
    said_by_it = tf("rm", "seeded", "nobody", status=1)
    assert "there is no kept snapshot 'nobody' at local (there is: seeded)" in said_by_it
    assert [one.id for one in location.kept()] == [kept.id]
    kept.forget()


def test_tidying_up_says_what_went_and_what_is_left(location: Location, tf: Tf, tiny: str) -> None:
    kept = sleeper(location, tiny).keep(seconds=0.1)
    assert kept.expires is not None
    until(lambda: time.time() > (kept.expires or 0), "its end")
    lines = tf("gc").splitlines()
    assert lines[-1].endswith("are kept at local; the limit is 10.0 GiB")
    assert location.kept() == []


def test_help() -> None:
    for command in ([], ["list"], ["rm"], ["gc"]):
        done = subprocess.run(
            [sys.executable, "-m", "tfnz.cli", "snapshots", *command, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "usage: tf snapshots" in done.stdout


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (3 << 50, "3072.0 TiB")],
)
def test_sizes(size: int, text: str) -> None:
    assert size_of(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3661, "1h 1m"), (90061, "1d 1h"), (86400, "1d")],
)
def test_times(seconds: float, text: str) -> None:
    assert time_of(seconds) == text
