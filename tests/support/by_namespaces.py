"""A container's processes where there are no control groups to list them: by the OCI runtime's own notes and pid namespaces.

Sees the nodes of the user who looks, or as root everybody's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

AGENT = "tf-node-agent"
PROC = Path("/proc")


def generations(container: str) -> dict[int, set[int]]:
    """The processes, as the machine numbers them, of each generation of the container with this id."""
    found = {}
    for agent in _agents():
        for number, first in _first_processes(agent, container):
            found[number] = _in_namespace_of(first)
    return found


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir(PROC) if name.isdigit())


def _agents() -> Iterator[int]:
    for pid in _processes():
        with contextlib.suppress(OSError):
            if (PROC / str(pid) / "comm").read_text().strip() == AGENT and numbers(pid)[-1:] == [1]:
                yield pid


def _first_processes(agent: int, container: str) -> Iterator[tuple[int, int]]:
    """Number of the generation and pid of its first process, of which the agent is the parent."""
    with contextlib.suppress(OSError):
        place = PROC / str(agent)
        mounts = [line.split() for line in (place / "mountinfo").read_text().splitlines()]
        run = next(line[4] for line in mounts if line[line.index("-") + 2] == "tf-node")
        for notes in (place / "root" / run.lstrip("/") / "crun" / "state").glob(f"{container}.*/status"):
            inside = json.loads(notes.read_text())["pid"]
            for pid in _children(agent):
                with contextlib.suppress(OSError):
                    if numbers(pid)[-2:-1] == [inside]:
                        yield int(notes.parent.name.rpartition(".")[2]), pid


def _children(pid: int) -> Iterator[int]:
    for task in (PROC / str(pid) / "task").iterdir():
        with contextlib.suppress(OSError):
            yield from map(int, (task / "children").read_text().split())


def _in_namespace_of(first: int) -> set[int]:
    found = set()
    with contextlib.suppress(OSError):
        wanted = os.readlink(PROC / str(first) / "ns/pid")
        for pid in _processes():
            with contextlib.suppress(OSError):
                if os.readlink(PROC / str(pid) / "ns/pid") == wanted:
                    found.add(pid)
    return found


def numbers(pid: int) -> list[int]:
    """What the process is called in each of its pid namespaces, the outermost first; none if it has gone."""
    try:
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return []
    line = re.search(r"^NSpid:\s*(.*)$", status, re.MULTILINE)
    assert line is not None
    return [int(number) for number in line[1].split()]
