"""Accounts of ordinary users on this machine, for the length of a test, and what still runs in their names."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.as_user import PROJECT
from tests.support.daemons import until
from tests.support.line import short_directory

SUBORDINATE = "1000000000-1000065535"
"""Ids that nobody has: more than one user may have them, as nothing of theirs outlives a test."""

TIMEOUT = 300.0
IDLE = "0.5"
"""Seconds after which a private location of such a user stops."""


@dataclass(frozen=True)
class User:
    """One of them."""

    name: str
    home: Path
    uid: int

    def run(self, *command: str, root: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program as this user, with little else in its environment.

        Args:
            command: program and arguments.
            root: as root of the user's own user namespace.
            environment: variables beside those of a login: `TF_…` and `PYTEST…` only.
        """
        words = self._words("--root", *command) if root else self._words(*command)
        return subprocess.run(
            words, cwd=PROJECT, env=_with(environment), capture_output=True, text=True, timeout=TIMEOUT, check=False
        )

    def popen(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """The same, to be talked to while it runs."""
        words, pipe = self._words(*command), subprocess.PIPE
        return subprocess.Popen(words, cwd=PROJECT, env=_with(environment), stdin=pipe, stdout=pipe, text=True)

    def _words(self, *command: str) -> list[str]:
        return [sys.executable, "-m", "tests.support.as_user", self.name, *command]

    def processes(self) -> list[str]:
        """What runs in the user's name, or under one of the ids that are subordinate."""
        first, last = map(int, SUBORDINATE.split("-"))
        found = []
        for place in Path("/proc").iterdir():
            if place.name.isdigit():
                with contextlib.suppress(OSError):
                    owner = place.stat().st_uid
                    if owner == self.uid or first <= owner <= last:
                        found.append(f"{place.name} {(place / 'comm').read_text().strip()}")
        return found


def _with(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "XDG_"))}
    return {**kept, "TF_LEAKS": "own", "TF_AS_USER": "1", "TF_LOCAL_IDLE": IDLE, **environment}


@contextlib.contextmanager
def ordinary_user(*, subordinate: str = SUBORDINATE) -> Iterator[User]:
    """A new account with a home of its own. At the end nothing may run in its name, and its files can be deleted.

    Args:
        subordinate: the user and group ids that it may map; empty: none.

    Raises:
        AssertionError: a process of the user's is left.
    """
    name = f"tf-{secrets.token_hex(4)}"
    with short_directory() as directory:
        home = directory / "home"
        directory.chmod(0o755)
        _ask("useradd", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", "-d", str(home), "-m", "-s", "/bin/sh", name)
        try:
            if subordinate:
                _ask("usermod", "--add-subuids", subordinate, "--add-subgids", subordinate, name)
            user = User(name, home, pwd.getpwnam(name).pw_uid)
            yield user
            until(lambda: not user.processes(), f"the end of what runs as {name}: {user.processes()}")
        finally:
            _ask("userdel", "--force", name)


def _ask(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def passed(done: subprocess.CompletedProcess[str]) -> str:
    """What a run of pytest said that must have passed."""
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-20_000:] + done.stderr[-5_000:]
    return done.stdout
