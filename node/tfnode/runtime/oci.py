"""Command lines of an OCI runtime, crun or runc: which program, how it is asked, what it says when it fails.

The two have the same commands where we need any. One trap is common to both: the program hands its own descriptors on to
the container, so whoever reads its stderr to the end waits until the container ends. Hence its complaints go to a file of
their own (`--log`) and its three descriptors are the container's. Knows nothing of configs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfcore.errors import CommandFailed, DeadlineExceeded, HostLacks
from tfcore.failpoints import failpoint
from tfnode.runtime.interface import Stdio

CANDIDATES = ("crun", "runc")
"""In this order: crun makes a container in a quarter of runc's time."""

TIMEOUT = 30.0
"""Seconds any of its commands may take; the slowest takes a tenth of one."""

CLEAN_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
"""Nothing of ours gets in: crun acts on LISTEN_FDS, NOTIFY_SOCKET and others."""


def find_program() -> Path:
    """The OCI runtime of this machine.

    Raises:
        HostLacks: there is none.
    """
    for name in CANDIDATES:
        if found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:{CLEAN_ENVIRONMENT['PATH']}"):
            return Path(found)
    raise HostLacks("there is no OCI runtime here", hint="install the package crun (or runc)")


class OciRuntime:
    """One program with one directory of state.

    Args:
        program: its path; its name says whose command line it has.
        root: where it keeps its state; only this process may use it.
    """

    def __init__(self, program: Path, root: Path) -> None:
        self._program = program
        self._root = root
        self._log = root / "log"
        self._log.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def is_crun(self) -> bool:
        """True if it is crun, some of whose habits are known here."""
        return self._program.name.startswith("crun")

    def state_directory(self, container: str) -> Path:
        """Where it keeps what it knows of `container`."""
        return self._root / "state" / container

    def create(self, container: str, bundle: Path, pid_file: Path, stdio: Stdio, *, cgroups: bool) -> int:
        """Make a container from `bundle`; its first process's pid."""
        arguments = ("--bundle", str(bundle), "--pid-file", str(pid_file))
        with self._offered(stdio) as console:
            self._run("create", *arguments, *console, container, about=container, stdio=stdio, cgroups=cgroups)
        return int(pid_file.read_text())

    def start(self, container: str, *, cgroups: bool) -> None:
        """Let its main process run."""
        self._run("start", container, about=container, cgroups=cgroups)

    def exec(self, container: str, process: Path, pid_file: Path, stdio: Stdio, *, cgroups: bool) -> int:
        """Run the process described in the file `process`; its pid."""
        arguments = ("--detach", "--process", str(process), "--pid-file", str(pid_file))
        with self._offered(stdio) as console:
            self._run("exec", *arguments, *console, container, about=container, stdio=stdio, cgroups=cgroups)
        return int(pid_file.read_text())

    @contextlib.contextmanager
    def _offered(self, stdio: Stdio) -> Iterator[tuple[str, ...]]:
        """The options by which it hands a terminal over, if the process is to have one."""
        if stdio.console is None:
            yield ()
            return
        with stdio.console.offered(self._log) as path:
            yield ("--console-socket", path)

    def delete(self, container: str, *, cgroups: bool) -> None:
        """Forget a container, alive or dead; nothing happens if it knows none of that id."""
        if self.state_directory(container).exists():
            self._run("delete", "--force", container, about=container, cgroups=cgroups)

    def _run(self, verb: str, *arguments: str, about: str, cgroups: bool, stdio: Stdio | None = None) -> None:
        """Run one command to its end; the errors carry its own words."""
        stdio = stdio or Stdio()
        with self._complaints(f"{verb}-{about}") as complaints:
            argv = [*self._globals(complaints, cgroups=cgroups), verb, *arguments]
            failpoint(f"runtime.{verb}")
            try:
                done = subprocess.run(
                    argv,
                    stdin=_or_null(stdio.stdin),
                    stdout=_or_null(stdio.stdout),
                    stderr=_or_null(stdio.stderr),
                    env=CLEAN_ENVIRONMENT,
                    start_new_session=True,  # crun leaves a command without a terminal in the session it is called in
                    timeout=TIMEOUT,
                    check=False,
                )
            except subprocess.TimeoutExpired as late:
                said = last_complaint(complaints.read_text())
                raise DeadlineExceeded(f"{self._what(verb, about)} took more than {TIMEOUT:g} s: {said}") from late
            failpoint(f"runtime.{verb}-done")
            if done.returncode != 0:
                raise self._failed(verb, about, done.returncode, complaints.read_text())

    def _globals(self, complaints: Path, *, cgroups: bool) -> list[str]:
        options = [str(self._program), "--root", str(self._root / "state")]
        options += ["--log", str(complaints), "--log-format", "json"]
        if self.is_crun:
            options += ["--cgroup-manager", "cgroupfs" if cgroups else "disabled"]
        elif not cgroups:
            raise HostLacks("runc cannot do without control groups", hint="install the package crun")
        return options

    @contextlib.contextmanager
    def _complaints(self, name: str) -> Iterator[Path]:
        """A file of its own for each command: several about one container may run at once."""
        fd, path = tempfile.mkstemp(prefix=f"{name}-", dir=self._log)
        os.close(fd)
        try:
            yield Path(path)
        finally:
            os.unlink(path)

    def _failed(self, verb: str, about: str, status: int, complaints: str) -> CommandFailed:
        said = last_complaint(complaints) or f"no word, only status {status}"
        details = {"program": self._program.name, "verb": verb, "how": f"status {status}"}
        return CommandFailed(f"{self._what(verb, about)}: {said}", details=details)

    def _what(self, verb: str, about: str) -> str:
        return f"{self._program.name} {verb} of container {about}"


def _or_null(fd: int | None) -> int:
    return subprocess.DEVNULL if fd is None else fd


def last_complaint(log: str) -> str:
    """The last error in a log of JSON lines, without the runtime's preamble; what is not JSON counts as it is."""
    complaints = [_message(line) for line in log.splitlines() if line.strip()]
    return next((message for message in reversed(complaints) if message), "")


def _message(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line.strip()
    if not isinstance(entry, dict) or entry.get("level") not in ("error", "fatal", None):
        return ""
    return str(entry.get("msg", "")).strip()
