"""What a container has run into, a sentence each: for whoever wonders why it, or another on its node, does not get on.

Knows what the kernel counts of a control group and how full a disk is; decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from tfnode.cgroups.group import Usage

MIB = 1 << 20


def troubles(usage: Usage, written: Callable[[], int] | None) -> tuple[str, ...]:
    """The sentences.

    Args:
        usage: of the generation that lives.
        written: tells the bytes it has written, if its node's disk is nearly full; else None.
    """
    told = []
    if usage.oom_kills:
        told.append(f"out of memory: {_times(usage.oom_kills)} a process was killed at its memory limit")
    if usage.forks_refused:
        told.append(f"too many processes: {_times(usage.forks_refused)} a new one was refused at its limit")
    if written is not None:
        told.append(f"its node's disk is nearly full, and it has written {written() // MIB} MiB since it booted")
    return tuple(told)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
