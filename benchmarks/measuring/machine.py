"""What figures were taken on: facts about the machine that explain them, and none that tell whose it is."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROGRAMS = {
    "crun": ("crun", "--version"),
    "dockerd": ("dockerd", "--version"),
    "ssh": ("ssh", "-V"),
}
"""Programs whose version matters, and how they tell it."""

GIB = 1024**3


def facts(*, file_system: str) -> dict[str, Any]:
    """The machine as a reader of figures wants to know it.

    Args:
        file_system: what the data of all contestants lay on.
    """
    return {
        "processor": processor(Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB),
        "kernel": platform.release(),
        "system": system(),
        "python": platform.python_version(),
        "file_system": file_system,
        "programs": {name: version(argv) for name, argv in PROGRAMS.items() if shutil.which(argv[0])},
    }


def processor(cpuinfo: str) -> str:
    """The processor's name, from /proc/cpuinfo; the architecture where the kernel tells no name."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def system() -> str:
    """The distribution's name."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def version(argv: tuple[str, ...]) -> str:
    """The first number with a dot in it that a program says about its version."""
    said = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+\S*", said.stdout + said.stderr)
    return found[0].rstrip(",") if found else "unknown"


def today() -> str:
    """The date, as it is written down."""
    return datetime.now(UTC).date().isoformat()


def load() -> float:
    """Processes that wanted to run, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)
