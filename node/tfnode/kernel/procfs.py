"""What /proc tells of processes that are somebody else's: who they are, what they have mapped, what has passed their links.

Reads and parses, judges nothing. All errors are `OSError`s; a process that has ended has no files any more.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "lo"

COMMAND = 200
"""Bytes of a command line that are of interest."""

ENDED = ("Z", "X", "x")
"""States of processes that only wait to be taken notice of."""

EXITING = 0x4
"""PF_EXITING, among the flags of a process (proc(5))."""

AT_REST = (b"S", b"I", b"T", b"t", b"Z", b"X")
"""States of threads that do nothing, and will not unless something happens."""


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for another one, and the program it runs.

    Attributes:
        started: ticks after the machine's boot.
        program: the name the kernel has for it.
    """

    pid: int
    started: int
    program: str


@dataclass(frozen=True)
class Inside:
    """A process as its own container knows it, and what it descends from as we do.

    Attributes:
        pid: its number in its own pid namespace.
        command: its command line; the program's name in brackets if it has none.
        parent: our number of its parent; 0 if that is nobody we see.
        session: our number of its session's leader, dead or alive; 0 if that is nobody we see.
        ended: it is waiting for its parent to take notice.
    """

    pid: int
    command: str
    parent: int
    session: int
    ended: bool


@dataclass(frozen=True)
class SharedMapping:
    """Memory that a process may write to and others may see.

    Attributes:
        start: its first address in the process.
        end: the address behind its last.
        device: of the file system of what is mapped, as `st_dev`.
        inode: of what is mapped.
        name: its path in the process's root, or the kernel's word for what has none.
    """

    start: int
    end: int
    device: int
    inode: int
    name: str


@dataclass(frozen=True)
class Mounted:
    """A file system that a process sees mounted as a whole and may write to.

    Attributes:
        device: as `st_dev`.
        place: where it is mounted, in the process's root.
        kind: the file system's type.
    """

    device: int
    place: str
    kind: str


def process(pid: int) -> Process:
    """Who has this number."""
    name, fields = _stat(pid)
    return Process(pid, int(fields[19]), name)


def inside(pid: int) -> Inside:
    """How it looks from inside its container."""
    name, fields = _stat(pid)
    status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    numbers = next((line.split() for line in status.splitlines() if line.startswith("NSpid:")), [str(pid)])
    line = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")[:COMMAND].replace(b"\0", b" ")
    command = line.decode("utf-8", "backslashreplace") or f"[{name}]"
    return Inside(int(numbers[-1]), command, int(fields[1]), int(fields[3]), fields[0] in ENDED)


def is_running(pid: int) -> bool:
    """False if it has ended, whether or not its parent has taken notice."""
    try:
        return _stat(pid)[1][0] not in ENDED
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_ending(pid: int) -> bool:
    """True if it has ended or is about to: the first process of a container first waits for the end of all others."""
    try:
        return bool(int(_stat(pid)[1][6]) & EXITING)
    except (FileNotFoundError, ProcessLookupError):
        return True


def is_at_rest(pid: int) -> bool:
    """True if none of its threads runs, waits for a processor, or is in the middle of a disk operation."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        text = Path(f"/proc/{pid}/task/{thread}/stat").read_bytes()
        if text[text.rindex(b")") + 2 :][:1] not in AT_REST:
            return False
    return True


def _stat(pid: int) -> tuple[str, list[str]]:
    """The name, and the fields behind it, of which the first is the state."""
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    name_ends = text.rindex(")")  # the name is the process's to choose, brackets and blanks included
    return text[text.index("(") + 1 : name_ends], text[name_ends + 2 :].split()


def packets(pid: int) -> int:
    """How many packets have passed the links of the process's network namespace, in and out, its loopback left out."""
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    links = (line.partition(":") for line in lines)
    return sum(_packets(counters.split()) for name, _, counters in links if name.strip() != LOOPBACK)


def _packets(counters: list[str]) -> int:
    """Received and sent, those included that were dropped."""
    return sum(int(counters[n]) for n in (1, 3, 9, 11))


def shared_mappings(pid: int) -> Iterator[SharedMapping]:
    """What the process has mapped shared and for writing."""
    with open(f"/proc/{pid}/maps", errors="surrogateescape") as table:
        for line in table:
            span, rights, _, device, inode, *name = line.rstrip("\n").split(maxsplit=5)
            if rights[1] == "w" and rights[3] == "s":
                start, end = (int(text, 16) for text in span.split("-"))
                yield SharedMapping(start, end, _device(device, 16), int(inode), "".join(name))


def writable_mounts(pid: int, kinds: Collection[str]) -> list[Mounted]:
    """The file systems of these kinds that the process sees as a whole and may write to."""
    found = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").splitlines():
        front, _, back = line.partition(" - ")
        kind = back.partition(" ")[0]
        if kind in kinds:
            _, _, device, root, place, options, *_ = front.split(" ")
            if root == "/" and "ro" not in options.split(","):
                found.append(Mounted(_device(device, 10), _unescaped(place), kind))
    return found


def _device(text: str, base: int) -> int:
    major, minor = (int(number, base) for number in text.split(":"))
    return os.makedev(major, minor)


def _unescaped(text: str) -> str:
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, character)
    return text
