"""A command's streams between its pipes and whoever asked, on this machine instead of in a container."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.waiting import eventually
from tfcore.errors import BadRequest
from tfnode.containers import processes
from tfnode.containers.processes import LINGER, Running
from tfnode.kernel import procfs
from tfnode.runtime.interface import Command, Ended, Exit, Stdio
from tfnode.runtime.stdio import Pipes


class Here:
    """A runtime and a generation at once: commands are this process's children."""

    runtime_id = "here"
    group = cast(Any, None)

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.children: list[subprocess.Popen[bytes]] = []
        self.watching: list[threading.Thread] = []

    def pids(self) -> frozenset[int]:
        return frozenset(int(name) for name in os.listdir("/proc") if name.isdigit())

    def exec(self, _container: str, command: Command, stdio: Stdio, *, ended: Ended) -> Any:
        child = subprocess.Popen(
            command.argv, stdin=stdio.stdin, stdout=stdio.stdout, stderr=stdio.stderr, start_new_session=True
        )
        self.children.append(child)
        watch = threading.Thread(target=lambda: ended(_exit(child.wait())))
        watch.start()
        self.watching.append(watch)
        return Child(child.pid)

    def signal(self, target: Any, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended, and its end is not told yet
            os.kill(target.pid, number)


@dataclass(frozen=True)
class Child:
    pid: int
    container: str = "here"


def _exit(code: int) -> Exit:
    return Exit(signal=-code) if code < 0 else Exit(code=code)


def run(script: str, scene: Callable[[Running], Any]) -> Any:
    """Run a script and play a scene with it; its children are gone afterwards, unless they have left its session."""
    here = Here()
    here.group = here

    async def play() -> Any:
        with ThreadPoolExecutor(2) as executor:
            running = Running(cast(Any, here), executor, cast(Any, here))
            try:
                await running.start(Command(("sh", "-c", script)), Pipes.with_stdin())
                return await scene(running)
            finally:
                await running.close()

    try:
        return asyncio.run(play())
    finally:
        for watch in here.watching:
            watch.join()


class Sink:
    """Collects; may be told to wait before each piece."""

    def __init__(self, before: Callable[[], Any] | None = None) -> None:
        self.data = b""
        self._before = before

    async def __call__(self, data: bytes) -> None:
        if self._before is not None:
            await self._before()
        self.data += data


def test_a_reader_who_is_slower_than_the_end_gets_all_of_it() -> None:
    """It was half a second after a command's end that what its reader had not taken was thrown away."""

    async def scene(running: Running) -> tuple[Exit, int]:
        out = Sink(lambda: asyncio.sleep(LINGER * 2.5))
        how = await running.drain(out, Sink())
        return how, len(out.data)

    assert run("head -c 120000 /dev/zero; exit 5", scene) == (Exit(code=5), 120_000)


def test_what_is_left_behind_is_not_waited_for_and_what_it_wrote_is_read(tmp_path: Path) -> None:
    async def scene(running: Running) -> bytes:
        out = Sink()
        await running.drain(out, Sink())
        return out.data

    script = f"setsid sh -c 'echo from behind; while [ ! -e {tmp_path}/over ]; do sleep 0.02; done' & echo end"
    assert sorted(run(script, scene).split(b"\n")) == [b"", b"end", b"from behind"]
    (tmp_path / "over").touch()


def test_what_is_left_behind_and_never_stops_writing_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SURPLUS", 100_000)

    async def scene(running: Running) -> Exit:
        async def ignore(_data: bytes) -> None:
            return

        return await running.drain(ignore, ignore)

    left = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec yes' &"
    script = f"{left} while [ ! -s {tmp_path}/pid ]; do sleep 0.01; done; exit 3"
    assert run(script, scene) == Exit(code=3)  # its output being closed is the end of `yes`


def test_closing_kills_what_it_has_started_as_well() -> None:
    async def scene(running: Running) -> int:
        out = asyncio.Queue[bytes]()
        draining = asyncio.ensure_future(running.drain(out.put, Sink()))
        child = int(await out.get())
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        return child

    child = run("sleep 1000 & echo $!; wait", scene)
    eventually(lambda: not procfs.is_running(child))


def test_a_signal_reaches_it_alone_or_all() -> None:
    async def scene(running: Running) -> Exit:
        out = asyncio.Queue[bytes]()
        draining = asyncio.ensure_future(running.drain(out.put, Sink()))
        await out.get()
        await running.signal(signal.SIGTERM, all_of_it=False)
        assert await out.get() == b"caught\n"
        await running.signal(signal.SIGKILL, all_of_it=True)
        return await draining

    script = "trap 'echo caught' TERM; echo up; while :; do sleep 0.02; done"
    assert run(script, scene) == Exit(signal=signal.SIGKILL)


def test_only_a_terminal_has_a_size() -> None:
    async def scene(running: Running) -> None:
        with pytest.raises(BadRequest, match="no terminal"):
            running.resize(80, 24)

    run("true", scene)


def test_a_command_that_is_given_up_while_it_is_started_does_not_stay() -> None:
    """Its starter is a thread, which goes on: what it has started by then had nobody who would end it."""
    here = Here()
    here.group = here

    async def play() -> None:
        with ThreadPoolExecutor(2) as executor:
            running = Running(cast(Any, here), executor, cast(Any, here))
            with here.turn:
                starting = asyncio.ensure_future(running.start(Command(("sleep", "1000")), Pipes.with_stdin()))
                await asyncio.sleep(0)
                starting.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await starting
            await running.close()

    asyncio.run(play())
    for watch in here.watching:
        watch.join(30)
    assert [child.returncode for child in here.children] == [-signal.SIGKILL]
