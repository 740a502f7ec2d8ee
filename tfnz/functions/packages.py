"""A file's dependencies, resolved and downloaded on this machine for the Python of an image: the container needs no network.

Only wheels: what has to be built would be built for the wrong machine. Kept in the user's cache by what was wished and for
which Python, and resolved anew after a week.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from tfcore.errors import CommandFailed, HostLacks

WEEK = 7 * 86400.0

TIMEOUT = 900.0
"""Seconds for resolving and downloading."""

OLDEST_MINOR = {"glibc": 5, "musl": 1}
"""Tags before manylinux_2_5 and musllinux_1_1 have other names, or are none."""

_NAMED = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""By glibc's minor version: what those tags are also called."""

_MANY = {"glibc": "manylinux", "musl": "musllinux"}


@dataclass(frozen=True, slots=True)
class Target:
    """The Python of an image.

    Attributes:
        version: 3.12.1.
        machine: as the kernel calls it: x86_64, aarch64.
        libc: glibc or musl.
        libc_version: of it: (2, 36).
    """

    version: str
    machine: str
    libc: str
    libc_version: tuple[int, int]

    @property
    def platforms(self) -> list[str]:
        """The tags of wheels that run there, best first."""
        major, minor = self.libc_version
        found = []
        for number in range(minor, OLDEST_MINOR[self.libc] - 1, -1):
            found.append(f"{_MANY[self.libc]}_{major}_{number}_{self.machine}")
            if self.libc == "glibc" and number in _NAMED:
                found.append(f"{_NAMED[number]}_{self.machine}")
        return [*found, f"linux_{self.machine}"]


def installed(dependencies: Sequence[str], target: Target) -> Path:
    """A directory with all of them, ready to be imported from there.

    Raises:
        CommandFailed: they cannot be had; with pip's last words.
        HostLacks: there is no pip on this machine.
    """
    directory = _cache() / _key(dependencies, target)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{directory}.lock"):
        if not _fresh(directory):
            _install(dependencies, target, directory)
    return directory


def _cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pytest-tf" / "functions"


def _key(dependencies: Sequence[str], target: Target) -> str:
    wish = json.dumps([sorted(dependencies), asdict(target)])
    return hashlib.sha256(wish.encode()).hexdigest()[:32]


def _fresh(directory: Path) -> bool:
    try:
        return time.time() - directory.stat().st_mtime < WEEK
    except FileNotFoundError:
        return False


def _install(dependencies: Sequence[str], target: Target, directory: Path) -> None:
    """Aside, and put in place when all of it is there."""
    aside = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", dir=directory.parent))
    try:
        _pip(dependencies, target, aside)
        os.utime(aside)
        shutil.rmtree(directory, ignore_errors=True)
        aside.rename(directory)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _pip(dependencies: Sequence[str], target: Target, directory: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise HostLacks(
            "dependencies are resolved by pip, which this Python does not have", hint=f"{sys.executable} -m ensurepip"
        )
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-compile",
        "--target", str(directory), "--only-binary", ":all:", "--implementation", "cp",
        "--python-version", ".".join(target.version.split(".")[:2]),
        *(f"--platform={platform}" for platform in target.platforms), "--", *dependencies,
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TIMEOUT, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-6:])
        raise CommandFailed(
            f"{', '.join(dependencies)} cannot be had for Python {target.version} on {target.machine}: {last}",
            hint="only wheels are used: what has to be built belongs into an image",
        )
