"""Turns the kernel's refusals into the project's errors, at the edge of the network. Knows nothing of what was
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tfcore.errors import CommandFailed
from tfnode.network.netlink import NetlinkRefused


@contextmanager
def refusals_of(what: str) -> Iterator[None]:
    """A `NetlinkRefused` inside becomes a CommandFailed that says `what` could not be done and why."""
    try:
        yield
    except NetlinkRefused as refused:
        raise CommandFailed(f"cannot {what}: {refused.strerror}", details={"errno": str(refused.errno)}) from refused
