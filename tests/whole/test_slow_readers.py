"""A gigabyte for a reader that takes its time: nobody on the way holds more than some megabytes, and nothing is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import private_location, sleeper
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

GIGABYTE = 1 << 30
MOST = 48 << 20
"""Bytes any hop may need more than before: the windows of three connections, what their sockets hold, and the log."""

SECONDS = 100.0
DAMPENED = 3
"""Looks in a row at a writer that has not written: it stands still."""


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


class Slow:
    """A callback that does not come back from its first piece until it may; then it only counts."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.flood = f"head -c {size} /dev/zero"
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.over = threading.Event()
        self.had = 0

    def __call__(self, _subject: object, data: bytes) -> None:
        self.begun.set()
        assert self.may_go_on.wait(SECONDS)
        self.had += len(data)
        if self.had >= self.size:
            self.over.set()


def spawned(location: Location, image: str, slow: Slow) -> None:
    """A process beside the main one."""
    process = sleeper(location, image).spawn_process(slow.flood, slow)
    _let_flow(slow)
    assert process.wait_until_complete(SECONDS) == b""
    assert process.exit_code == 0


def main_process(location: Location, image: str, slow: Slow) -> None:
    """The container's own output, which goes through its log."""
    container: Container = location.node().spawn_container(
        image, command=["sh", "-c", slow.flood], stdout_callback=slow
    )
    _let_flow(slow)
    assert slow.over.wait(SECONDS)
    container.destroy()


def _let_flow(slow: Slow) -> None:
    assert slow.begun.wait(SECONDS)
    _stands_still(slow)
    slow.may_go_on.set()


def _stands_still(slow: Slow) -> None:
    """Wait until the writer waits for its reader."""
    seen = [-1]

    def still() -> bool:
        seen.append(sum(map(_written, _writers(slow.flood))))
        return seen[-1] > 0 and len(seen) > DAMPENED and len(set(seen[-DAMPENED:])) == 1

    def looked() -> bool:
        threading.Event().wait(0.1)
        return still()

    until(looked, "the writer to wait for its reader")
    assert seen[-1] < slow.size, "it has written everything, and somebody holds it"


def _writers(flood: str) -> list[int]:
    wanted = b"\0".join(word.encode() for word in flood.split()) + b"\0"
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{name}/cmdline").read_bytes() == wanted:
                found.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _written(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/io").read_text().partition("wchar:")[2].split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Hop:
    """A process on the way, and how much memory it needs at most."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        self.before = self.peak

    @property
    def peak(self) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024

    @property
    def more(self) -> int:
        return self.peak - self.before


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("flow", "size"), [(spawned, GIGABYTE), (main_process, GIGABYTE // 4)], ids=["spawned", "main"]
)
def test_a_slow_reader_slows_its_writer_and_nobody_holds_much(
    place: PrivateLocation, location: Location, tiny: str, flow: Callable[[Location, str, Slow], None], size: int
) -> None:
    assert (
        sleeper(location, tiny).run_process("head -c 30000000 /dev/zero").exit_code == 0
    )  # what is allocated once, is by now
    pid = place.pid
    assert pid is not None
    hops = [Hop("client", os.getpid()), Hop("location", pid), Hop("agent", place.node.agent)]
    slow = Slow(size)
    flow(location, tiny, slow)
    assert slow.had == size
    assert {hop.name: hop.more for hop in hops if hop.more > MOST} == {}
