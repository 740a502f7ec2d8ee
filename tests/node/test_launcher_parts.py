"""What a launcher is made of: the lock on its directory, the channel to its agent, the watch, the pauses between lives."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from tests.node.launching import DEADLINE
from tfcore.clock import JumpingClock
from tfcore.errors import DeadlineExceeded, HostLacks, TfError, WrongState
from tfnode.process.backoff import Backoff
from tfnode.process.birth import packed, unpacked
from tfnode.process.channel import Channel, Word
from tfnode.process.lock import NodeLock
from tfnode.process.plan import Plan
from tfnode.process.remains import Remains
from tfnode.process.signals import Signals
from tfnode.process.watch import Child, Watch


def test_agent_that_is_dead_and_never_gone_is_given_up(tmp_path: Path) -> None:
    """As if a process below it hung in the kernel: its end of the channel is closed, and its pidfd stays silent."""
    clock = JumpingClock()
    attempts: list[float] = []

    def hurried() -> float:
        clock.jump(0.6)
        return clock()

    plan = Plan(agent_main=lambda _life: None, before_netns=lambda: None, root=tmp_path, run=tmp_path / "run")
    remains = Remains(lambda: attempts.append(clock()), lambda: None)
    ours, theirs = Channel.pair()
    theirs.close()
    with subprocess.Popen(["sleep", "600"]) as hung, Signals() as caught:
        child = Child(hung.pid, os.pidfd_open(hung.pid), ours)
        with pytest.raises(DeadlineExceeded, match=rf"process {hung.pid}\) is dead, but processes below it"):
            Watch(plan, child, caught=caught, remains=remains, clock=hurried).until_gone()
        hung.kill()
        child.close()
    assert len(attempts) > 3


def test_lock_names_its_holder(tmp_path: Path) -> None:
    with NodeLock(tmp_path), pytest.raises(WrongState, match=f"process {os.getpid()}"), NodeLock(tmp_path):
        pass
    with NodeLock(tmp_path):
        pass


def test_lock_gives_up_on_a_keeper_that_never_ends(tmp_path: Path) -> None:
    clock = JumpingClock()
    held = os.open(tmp_path / "sweep.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)

    def hurried() -> float:
        clock.jump(50.0)
        return clock()

    with pytest.raises(DeadlineExceeded, match="still being swept"), NodeLock(tmp_path, clock=hurried):
        pass
    os.close(held)
    with NodeLock(tmp_path):
        pass


def test_channel_carries_words_bodies_and_descriptors(tmp_path: Path) -> None:
    one, other = Channel.pair()
    with (tmp_path / "x").open("w") as file:
        one.send(Word.IN_NETNS, b"two\nlines", [file.fileno()])
    said = other.receive(DEADLINE)
    assert said is not None
    assert (said.word, said.body) == (Word.IN_NETNS, b"two\nlines")
    [fd] = said.fds
    assert os.readlink(f"/proc/self/fd/{fd}") == str(tmp_path / "x")
    assert not os.get_inheritable(fd)
    os.close(fd)
    one.close()
    other.close()


def test_channel_shows_a_death_behind_its_last_words() -> None:
    one, other = Channel.pair()
    assert not other.other_end_is_gone()
    assert other.last_words() is None
    one.send(Word.UP)
    one.close()
    assert other.other_end_is_gone()
    said = other.last_words()
    assert said is not None
    assert said.word is Word.UP
    assert other.receive(DEADLINE) is None
    with pytest.raises(OSError):
        other.send(Word.GO_ON)
    other.close()


def test_channel_shows_the_death_of_one_who_did_not_listen() -> None:
    one, other = Channel.pair()
    other.send(Word.GO_ON)
    one.close()
    assert other.receive(DEADLINE) is None
    other.close()


@pytest.mark.parametrize(
    "error", [TfError("x"), HostLacks("🐘" * 50_000, hint="\x00" * 50_000, details={"k": "v" * 9999}, retryable=True)]
)
def test_error_survives_the_channel_however_long(error: TfError) -> None:
    one, other = Channel.pair()
    one.send(Word.FAILED, packed(error))
    said = other.receive(DEADLINE)
    assert said is not None
    arrived = unpacked(said.body)
    assert type(arrived) is type(error)
    assert error.message.startswith(arrived.message)
    assert arrived.retryable == error.retryable
    one.close()
    other.close()


def test_backoff_grows_with_short_lives_and_forgets_after_a_long_one() -> None:
    backoff = Backoff()
    assert [backoff.pause(0.1) for _ in range(8)] == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff.pause(3600.0) == 0.0
    assert [backoff.pause(0.1) for _ in range(2)] == [0.0, 0.2]
