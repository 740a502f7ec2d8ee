"""Who ended, and how: with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.privacy import adopting_orphans
from tfcore.errors import DeadlineExceeded, WrongState
from tfnode.cgroups.files import until
from tfnode.runtime.exits import ExitWatcher
from tfnode.runtime.interface import Exit
from tfnode.runtime.strays import LaunchGate, collect_strays

SECONDS = 10.0


@pytest.fixture
def exits() -> Iterator[ExitWatcher]:
    watcher = ExitWatcher()
    yield watcher
    watcher.close()


@pytest.fixture
def child() -> Iterator[Callable[[str], int]]:
    """Starts shell scripts that nobody else waits for."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str) -> int:
        process = subprocess.Popen(["sh", "-c", script])
        started.append(process)
        return process.pid

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_the_exit_code_is_the_processs_own(exits: ExitWatcher, child: Callable[[str], int]) -> None:
    assert exits.watch(child("exit 42")).wait(SECONDS) == Exit(code=42)


def test_a_signal_is_told_apart_from_a_code(exits: ExitWatcher, child: Callable[[str], int]) -> None:
    process = exits.watch(child("exec sleep 1000"))
    process.signal(signal.SIGKILL)
    how = process.wait(SECONDS)
    assert how == Exit(signal=signal.SIGKILL)
    assert how.status == 137


def test_one_that_ended_before_is_found(exits: ExitWatcher, child: Callable[[str], int]) -> None:
    pid = child("exit 3")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert exits.watch(pid).wait(SECONDS) == Exit(code=3)


def test_one_that_is_gone_ended_nobody_knows_how(exits: ExitWatcher) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    told: list[Exit] = []
    assert exits.watch(process.pid, ended=told.append).wait(0) == Exit()
    assert told == [Exit()]


def test_of_anothers_child_only_the_end_is_seen(exits: ExitWatcher) -> None:
    parent = subprocess.Popen(["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent:
        process = exits.watch(int(parent.stdout.readline()))
        process.signal(signal.SIGKILL)
        assert process.wait(SECONDS) == Exit()


def test_waiting_has_an_end_and_signals_need_somebody(exits: ExitWatcher, child: Callable[[str], int]) -> None:
    process = exits.watch(child("exec sleep 1000"))
    with pytest.raises(DeadlineExceeded, match=r"still alive after 0\.01 s"):
        process.wait(0.01)
    process.signal(signal.SIGTERM)
    process.wait(SECONDS)
    with pytest.raises(WrongState, match="has ended"):
        process.signal(signal.SIGTERM)


def test_the_judge_is_asked_before_anybody_is_told(exits: ExitWatcher, child: Callable[[str], int]) -> None:
    told = threading.Event()
    heard: list[Exit] = []

    def ended(how: Exit) -> None:
        heard.append(how)
        told.set()

    process = exits.watch(child("exit 1"), judge=lambda how: Exit(how.code, how.signal, oom=True), ended=ended)
    assert process.wait(SECONDS).oom
    assert told.wait(SECONDS)
    assert heard == [Exit(code=1, oom=True)]


def test_one_that_fails_to_judge_or_listen_harms_no_other(
    exits: ExitWatcher, child: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(how: Exit) -> Exit:
        raise ValueError(how)

    assert exits.watch(child("exit 1"), judge=fail, ended=fail).wait(SECONDS) == Exit(code=1)
    assert exits.watch(child("exit 2")).wait(SECONDS) == Exit(code=2)
    assert {record.levelname for record in caplog.records} == {"ERROR"}


def test_the_watched_are_known_until_they_are_collected(exits: ExitWatcher, child: Callable[[str], int]) -> None:
    process = exits.watch(pid := child("exec sleep 1000"))
    assert exits.pids() == {pid}
    process.signal(signal.SIGKILL)
    process.wait(SECONDS)
    assert exits.pids() == frozenset()


def test_closing_leaves_no_thread_and_no_descriptor(child: Callable[[str], int]) -> None:
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    watcher = ExitWatcher()
    process = watcher.watch(child("exec sleep 1000"))
    watcher.close()
    watcher.close()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    assert process.wait(0) == Exit()
    with pytest.raises(WrongState, match="closed"):
        watcher.watch(os.getpid())


# strays


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes pid namespaces here")
def test_a_dead_process_of_a_deeper_namespace_that_nobody_watches_is_collected() -> None:
    with adopting_orphans():
        stray = _dead_below("exit 5")
        assert collect_strays(LaunchGate(), lambda: frozenset({stray})) == []
        assert collect_strays(LaunchGate(), frozenset) == [stray]


def test_our_own_dead_children_are_left_to_their_owners() -> None:
    process = subprocess.Popen(["sh", "-c", "exit 6"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert collect_strays(LaunchGate(), frozenset) == []
    assert process.wait() == 6


def _dead_below(script: str) -> int:
    """The pid of a zombie child of ours that is the first process of a pid namespace."""
    program = (
        "import ctypes, os, sys; ctypes.CDLL(None).unshare(0x20000000); pid = os.fork();"
        f"pid or os.execlp('sh', 'sh', '-c', {script!r}); print(pid, flush=True); os._exit(0)"
    )
    pid = int(subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def test_quiet_waits_for_those_who_start_and_keeps_others_waiting() -> None:
    gate, order = LaunchGate(), []
    started, wanted = threading.Event(), threading.Event()

    def launch() -> None:
        with gate.launching():
            started.set()
            wanted.wait(SECONDS)
            order.append("launched")

    def be_quiet() -> None:
        with gate.quiet():
            order.append("quiet")

    first, quiet = threading.Thread(target=launch), threading.Thread(target=be_quiet)
    first.start()
    assert started.wait(SECONDS)
    quiet.start()
    until(lambda: gate._quiet > 0, timeout=SECONDS, failure=lambda: "nobody wants quiet")
    late = threading.Thread(target=launch)
    late.start()
    wanted.set()
    for thread in (first, quiet, late):
        thread.join(SECONDS)
    assert order == ["launched", "quiet", "launched"]
