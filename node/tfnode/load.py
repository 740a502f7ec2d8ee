"""How much of this machine is free: what a node offers, sampled from /proc.

Rates are over the time between two samples. All parsing is pure (formats: proc(5), the kernel's iostats.rst). Knows nothing
of who asks and of what the node runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfcore.clock import Clock, monotonic

SECTOR = 512
"""Bytes of a sector in /proc/diskstats, whatever the disk's own are."""

VIRTUAL = re.compile(r"\A(loop|ram|zram|dm-|md|sr|fd)\d")
"""Block devices whose traffic is that of others, or nobody's."""


@dataclass(frozen=True)
class Sample:
    """What is free now."""

    cpu: float
    """Idle share of all cores since the last sample, 0 to 1."""

    cores: int
    """Cores this process may use."""

    memory: int
    """Bytes that can be had without swapping."""

    memory_total: int

    disk: int
    """Bytes free on the file system of the path."""

    disk_total: int

    read_rate: float
    """Bytes per second since the last sample, of the disk below the path, or of all disks if there is no telling."""

    write_rate: float

    paging: float
    """Pages swapped in or out per second since the last sample."""


@dataclass(frozen=True)
class Counters:
    """What the kernel counts since boot."""

    at: float
    cpu_idle: int
    cpu_total: int
    bytes_read: int
    bytes_written: int
    pages_swapped: int


class Sampler:
    """Samples this machine and the file system that holds `path`.

    Args:
        path: an existing directory, the node's root.
        clock: seconds.
        proc: where procfs is mounted.
    """

    def __init__(self, path: Path, *, clock: Clock = monotonic, proc: Path = Path("/proc")) -> None:
        self._path = path
        self._clock = clock
        self._proc = proc
        self._last = self._counters()

    def sample(self) -> Sample:
        """What is free now, with the rates since the last call (or since this was made).

        Raises:
            OSError: procfs or the path cannot be read.
        """
        before, self._last = self._last, self._counters()
        memory = read_table((self._proc / "meminfo").read_text())
        disk = os.statvfs(self._path)
        seconds = self._last.at - before.at
        return Sample(
            cpu=idle_share(before, self._last),
            cores=len(os.sched_getaffinity(0)),
            memory=memory["MemAvailable"] * 1024,
            memory_total=memory["MemTotal"] * 1024,
            disk=disk.f_bavail * disk.f_frsize,
            disk_total=disk.f_blocks * disk.f_frsize,
            read_rate=rate(self._last.bytes_read - before.bytes_read, seconds),
            write_rate=rate(self._last.bytes_written - before.bytes_written, seconds),
            paging=rate(self._last.pages_swapped - before.pages_swapped, seconds),
        )

    def _counters(self) -> Counters:
        idle, total = read_cpu((self._proc / "stat").read_text())
        read, written = read_disk((self._proc / "diskstats").read_text(), os.stat(self._path).st_dev)
        vm = read_table((self._proc / "vmstat").read_text())
        return Counters(self._clock(), idle, total, read, written, vm.get("pswpin", 0) + vm.get("pswpout", 0))


def idle_share(before: Counters, now: Counters) -> float:
    """The share of processor time between two counts in which there was nothing to do; 1 if no time was counted."""
    passed = now.cpu_total - before.cpu_total
    if passed <= 0:
        return 1.0
    return min(1.0, max(0.0, (now.cpu_idle - before.cpu_idle) / passed))


def rate(amount: int, seconds: float) -> float:
    """Per second; 0 if no time passed or a counter went backwards (a disk was replaced)."""
    return amount / seconds if seconds > 0 and amount > 0 else 0.0


def read_cpu(stat: str) -> tuple[int, int]:
    """Idle and total time of all cores, in clock ticks, from /proc/stat.

    Waiting for a disk is idle. The guest columns are left out: they are counted in the user columns already.
    """
    columns = [int(column) for column in stat.split("\n", 1)[0].split()[1:9]]
    return columns[3] + columns[4], sum(columns)


def read_table(text: str) -> dict[str, int]:
    """/proc/meminfo (in kB) and /proc/vmstat: names and their numbers."""
    return {words[0].rstrip(":"): int(words[1]) for line in text.splitlines() if (words := line.split())}


def read_disk(diskstats: str, device: int) -> tuple[int, int]:
    """Bytes read and written since boot, from /proc/diskstats.

    Args:
        diskstats: the file's text.
        device: `st_dev` of the path. Where it names no block device (btrfs, overlay, zfs), all real disks count.
    """
    rows = [line.split() for line in diskstats.splitlines()]
    own = [row for row in rows if (int(row[0]), int(row[1])) == (os.major(device), os.minor(device))]
    counted = own or list(_whole_disks(rows))
    return sum(int(row[5]) for row in counted) * SECTOR, sum(int(row[9]) for row in counted) * SECTOR


def _whole_disks(rows: Iterable[list[str]]) -> Iterable[list[str]]:
    """Rows of disks as such: a partition's row follows its disk's, and begins with the disk's name."""
    disk = "\0"
    for row in rows:
        if not VIRTUAL.match(row[2]) and not re.fullmatch(re.escape(disk) + r"p?\d+", row[2]):
            disk = row[2]
            yield row
