"""The TCP connections of somebody else's network namespace, as /proc tells them.

Reads and parses, judges nothing but who called whom: whoever is connected to a port that is listened on was called. Errors
are `OSError`s, and `ValueError` for a table that says something unexpected.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

ESTABLISHED = 0x01
LISTEN = 0x0A
"""States of include/net/tcp_states.h."""

Ip = IPv4Address | IPv6Address


@dataclass(frozen=True, order=True)
class Established:
    """A TCP connection.

    Attributes:
        incoming: it was opened from the other end.
        port: the one that was called, here or there.
        peer: the other end's address.
        peer_port: the other end's port.
    """

    incoming: bool
    port: int
    peer: str
    peer_port: int


@dataclass(frozen=True)
class _Row:
    local: Ip
    local_port: int
    remote: Ip
    remote_port: int
    state: int


def established(pid: int) -> list[Established]:
    """The connections of the process's network namespace, each end of one within it by itself."""
    rows = [row for table in ("tcp", "tcp6") for row in _rows(pid, table)]
    listening = {row.local_port for row in rows if row.state == LISTEN}
    return sorted(_described(row, listening) for row in rows if row.state == ESTABLISHED)


def _described(row: _Row, listening: set[int]) -> Established:
    incoming = row.local_port in listening
    port = row.local_port if incoming else row.remote_port
    return Established(incoming, port, str(row.remote), row.remote_port)


def _rows(pid: int, table: str) -> Iterator[_Row]:
    try:
        lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    except FileNotFoundError:
        if Path(f"/proc/{pid}/net").exists():  # a kernel without IPv6
            return
        raise
    for line in lines:
        _, local, remote, state, *_ = line.split()
        yield _Row(*_end(local), *_end(remote), int(state, 16))


def _end(text: str) -> tuple[Ip, int]:
    """Addresses are words of four bytes in the machine's own order."""
    packed, port = text.split(":")
    words = [bytes.fromhex(packed[n : n + 8]) for n in range(0, len(packed), 8)]
    raw = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    if len(raw) == 4:
        return IPv4Address(raw), int(port, 16)
    wide = IPv6Address(raw)
    return wide.ipv4_mapped or wide, int(port, 16)
