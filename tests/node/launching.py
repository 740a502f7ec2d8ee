"""A launcher in a process of its own, for tests to read line by line and to kill.

Each node runs in processes of its own (`launched.py`) and says what it does; a test waits for these lines, never for time.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

DEADLINE = 60.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="making namespaces without a user namespace needs root")
with_freezer = pytest.mark.skipif(
    not os.path.ismount("/sys/fs/cgroup/freezer"), reason="this machine has no version 1 freezer"
)


class Node:
    """A launcher in a process of its own, read line by line."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: list[str] = []
        self._buffer = b""
        self._alive = -1

    def start(self, program: str, *, wrapped_in: tuple[str, ...] = ()) -> None:
        if self._alive >= 0:
            self._finish()
        else:
            os.mkfifo(self.root / "alive")
            self._alive = os.open(self.root / "alive", os.O_RDONLY | os.O_NONBLOCK)
        self._log = (self.root / "log").open("ab")
        argv = [*wrapped_in, sys.executable, str(Path(__file__).with_name("launched.py")), program, str(self.root)]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log)

    def expect(self, pattern: str) -> re.Match[str]:
        """The next line that matches `pattern` as a whole; lines before it are passed over."""
        while (line := self._line()) is not None:
            if found := re.fullmatch(pattern, line):
                return found
        pytest.fail(f"no line like {pattern!r} in {self._seen}; log: {self.log()}")

    def rest(self) -> list[str]:
        """The lines up to the end of file, which comes when launcher, keeper and agent are all gone."""
        lines = []
        while (line := self._line()) is not None:
            lines.append(line)
        return lines

    def _line(self) -> str | None:
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            if not select.select([self.process.stdout], [], [], DEADLINE)[0]:
                pytest.fail(f"nothing said for {DEADLINE:g} s after {self._seen}; log: {self.log()}")
            chunk = os.read(self.process.stdout.fileno(), 4096)
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        self._seen.append(line.decode())
        return self._seen[-1]

    def log(self) -> str:
        return (self.root / "log").read_text()

    def agent(self) -> int:
        return int(self.expect(r"agent (\d+) netns \d+")[1])

    def wait_until_all_of_the_agent_is_dead(self) -> None:
        poll = select.poll()
        poll.register(self._alive, 0)
        if not poll.poll(DEADLINE * 1000):
            pytest.fail(f"something of the agent lives {DEADLINE:g} s after {self._seen}; log: {self.log()}")

    def status(self) -> int:
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        if self._alive >= 0:
            self._finish()
            os.close(self._alive)

    def _finish(self) -> None:
        self.process.kill()
        self.rest()
        self.status()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


def children_of(pid: int, name: str) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if Path(f"/proc/{child}/comm").read_text().strip() == name]
