"""A real terminal for tests: a tmux server of its own with a shell in one window, typed into and looked at.

with Tmux(environment) as screen:
    screen.type("ls; echo rc=$?")
    screen.until(r"rc=0")
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.support.daemons import gone

SECONDS = 60.0
"""What is to be seen must be there by then."""

LOOK = 0.05

_numbers = itertools.count()


def has_tmux() -> bool:
    return shutil.which("tmux") is not None


class Tmux:
    """One window. Its shell's prompt is `$ `; TERM is what programs in it are told, and what it is like."""

    def __init__(self, environment: Mapping[str, str], *, columns: int = 100, rows: int = 30) -> None:
        self._socket = f"tf-test-{os.getpid()}-{next(_numbers)}"
        self._environment = {**environment, "PS1": "$ ", "ENV": "", "SHELL": "/bin/sh"}
        for ours in ("TMUX", "COLUMNS", "LINES"):
            self._environment.pop(ours, None)
        size = ("-x", str(columns), "-y", str(rows))
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "env TERM=xterm sh")
        self._server = int(self._tmux("display-message", "-p", "#{pid}"))
        self.until(r"^\$")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", "-L", self._socket, *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=True, timeout=SECONDS
        )
        return done.stdout

    def type(self, line: str) -> None:
        """A line, and Enter."""
        self._tmux("send-keys", "-l", line)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: C-c, Up, q."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def screen(self) -> str:
        """What is to be seen."""
        return self._tmux("capture-pane", "-p")

    @property
    def other_screen(self) -> bool:
        """A full-screen program has the screen."""
        return self._tmux("display-message", "-p", "#{alternate_on}").strip() == "1"

    @property
    def foreground(self) -> int:
        """The process at the front of the shell's terminal."""
        terminal = self._tmux("display-message", "-p", "#{pane_tty}").strip()
        listed = subprocess.run(["ps", "-o", "pid=,stat=", "-t", terminal], capture_output=True, text=True, check=True)
        front = [line.split()[0] for line in listed.stdout.splitlines() if "+" in line.split()[1]]
        return int(front[0])

    def until(self, pattern: str) -> re.Match[str]:
        """Look until a line matches.

        Raises:
            AssertionError: none does in time; with what is to be seen instead.
        """
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.screen, re.MULTILINE)):
            assert time.monotonic() < deadline, f"no {pattern!r} on the screen:\n{self.screen}"
            time.sleep(LOOK)
        return found

    def close(self) -> None:
        """End the server and all in it."""
        self._tmux("kill-server")
        gone(self._server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
