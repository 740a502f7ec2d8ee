"""Pid 1's duty: dead children that nobody awaits are collected, the others are left to who awaits them."""

from __future__ import annotations

import os
import subprocess

import pytest

from tfcore.clock import JumpingClock
from tfnode.process.init import DeadChild, Orphans, dead_children, zombie_of


@pytest.mark.parametrize(
    ("stat", "found"),
    [
        ("77 (sleep) Z 1 77 77 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5551 0 0", DeadChild(77, 5551)),
        ("78 (a) Z) 1 (b) Z 1 77 77 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5552 0 0", DeadChild(78, 5552)),
        ("79 (sleep) S 1 77 77 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5553 0 0", None),
        ("80 (sleep) Z 7 77 77 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5554 0 0", None),
    ],
)
def test_zombies_are_read_from_proc(stat: str, found: DeadChild | None) -> None:
    assert zombie_of(1, stat) == found


class Dead:
    """Dead children as a list, and who was collected."""

    def __init__(self) -> None:
        self.clock = JumpingClock()
        self.now: list[DeadChild] = []
        self.claimed: set[int] = set()
        self.orphans = Orphans(
            lambda: self.claimed, find=lambda: list(self.now), collect=self.collect, grace=10.0, clock=self.clock
        )

    def collect(self, pid: int) -> None:
        known = [child for child in self.now if child.pid == pid]
        if not known:
            raise ChildProcessError
        self.now.remove(known[0])


def test_orphan_is_collected_after_the_grace() -> None:
    dead = Dead()
    dead.now = [DeadChild(5, 100)]
    assert dead.orphans.reap() == []
    dead.clock.jump(9.9)
    assert dead.orphans.reap() == []
    dead.clock.jump(0.2)
    assert dead.orphans.reap() == [5]
    assert dead.now == []


def test_claimed_child_is_left_to_its_owner_however_late() -> None:
    dead = Dead()
    dead.now = [DeadChild(5, 100), DeadChild(6, 100)]
    dead.claimed = {5}
    dead.orphans.reap()
    dead.clock.jump(1000)
    assert dead.orphans.reap() == [6]
    assert dead.now == [DeadChild(5, 100)]


def test_same_pid_again_is_another_child() -> None:
    dead = Dead()
    dead.now = [DeadChild(5, 100)]
    dead.orphans.reap()
    dead.clock.jump(11)
    dead.now = [DeadChild(5, 200)]
    assert dead.orphans.reap() == []


def test_owner_that_came_between_finding_and_collecting_is_no_error() -> None:
    dead = Dead()
    seen = [DeadChild(5, 100)]
    orphans = Orphans(set, find=lambda: seen, collect=dead.collect, grace=0.0, clock=dead.clock)
    assert orphans.reap() == []


def test_real_dead_child_is_seen_and_its_status_left_alone() -> None:
    child = subprocess.Popen(["sh", "-c", "exit 42"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.pid in {dead.pid for dead in dead_children()}
    assert Orphans(set, grace=1000.0).reap() == []
    assert child.wait() == 42
