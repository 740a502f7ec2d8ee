"""The netlink protocol: framing, attributes, acknowledgements and the kernel's own words when it refuses.

Knows nothing of what is asked: `rtnetlink` and `sockdiag` do. A socket belongs for ever to the network namespace of
the thread that opened it. Numbers are those of linux/netlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

from tfcore.failpoints import failpoint

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSGERR_ATTR_MSG = 1

SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11

HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, port."""
RECEIVE = 1 << 16
"""The kernel packs a dump into messages of at most 32 KiB."""
DEADLINE = 10.0
"""Seconds to wait for an answer of the kernel, which gives it within the call unless something is badly wrong."""


class NetlinkRefused(OSError):
    """The kernel said no: `errno` as usual, and its own sentence where it gives one."""


class Message(NamedTuple):
    """One message from the kernel, without its header."""

    kind: int
    flags: int
    body: bytes


def attribute(kind: int, value: bytes | int | str) -> bytes:
    """One netlink attribute: an int is 32 bits in the machine's order, a str ends in NUL, bytes are taken as they
    are.
    """
    if isinstance(value, int):
        value = struct.pack("=I", value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes packed in `data` by their number, without the flags in its two highest bits."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


class NetlinkSocket:
    """One netlink socket: requests one after the other, each waiting for its answer. Safe to share between threads."""

    def __init__(self, protocol: int) -> None:
        """`protocol` as in linux/netlink.h; OSError if the kernel does not know it."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(DEADLINE)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.bind((0, 0))
        self._lock = threading.Lock()
        self._sequence = 0

    def request(self, kind: int, body: bytes, *, flags: int = 0, doing: str) -> list[bytes]:
        """Send one request and wait for its acknowledgement; returns the bodies of what came before it.

        Raises:
            NetlinkRefused: the kernel refused; the message is `doing` and the kernel's reason.
        """
        return self._ask(kind, body, flags | NLM_F_ACK, doing)

    def dump(self, kind: int, body: bytes, *, doing: str) -> list[bytes]:
        """Ask for all objects of a kind; a listing that was disturbed by a change is asked for again.

        Raises:
            NetlinkRefused: the kernel refused, or the listing was disturbed ten times.
        """
        for _ in range(10):
            try:
                return self._ask(kind, body, NLM_F_DUMP, doing)
            except InterruptedError:
                continue
        raise NetlinkRefused(errno.EAGAIN, f"{doing}: the listing changed while it was read, ten times")

    def close(self) -> None:
        """Close the socket; twice is harmless."""
        self._socket.close()

    def _ask(self, kind: int, body: bytes, flags: int, doing: str) -> list[bytes]:
        with self._lock:
            self._sequence += 1
            head = HEADER.pack(HEADER.size + len(body), kind, flags | NLM_F_REQUEST, self._sequence, 0)
            try:
                failpoint("netlink.ask")
                self._socket.send(head + body)
                answers = list(self._answers())
            except TimeoutError as late:
                raise NetlinkRefused(errno.ETIMEDOUT, f"{doing}: no answer from the kernel in {DEADLINE:g} s") from late
            except OSError as error:
                raise NetlinkRefused(error.errno, f"{doing}: {error.strerror}") from error
        _raise_if_refused(answers[-1], doing)
        if any(answer.flags & NLM_F_DUMP_INTR for answer in answers):
            raise InterruptedError(doing)
        return [answer.body for answer in answers[:-1]]

    def _answers(self) -> Iterator[Message]:
        """What answers the last request, its end included; leftovers of an earlier one that timed out are skipped."""
        while True:
            data = self._socket.recv(RECEIVE)
            while data:
                length, kind, flags, sequence, _ = HEADER.unpack_from(data)
                if sequence == self._sequence:
                    yield Message(kind, flags, data[HEADER.size : length])
                    if kind in (NLMSG_ERROR, NLMSG_DONE):
                        return
                data = data[(length + 3) & ~3 :]


def _raise_if_refused(message: Message, doing: str) -> None:
    """An error of 0 is an acknowledgement; NLMSG_DONE carries a status of its own."""
    status = struct.unpack_from("=i", message.body)[0] if len(message.body) >= 4 else 0
    if status < 0:
        words = _kernel_words(message)
        raise NetlinkRefused(-status, f"{doing}: {os.strerror(-status)}" + (f" ({words})" if words else ""))


def _kernel_words(message: Message) -> str:
    """The extended acknowledgement: after the status and, in an error, the header of the refused request."""
    if not message.flags & NLM_F_ACK_TLVS:
        return ""
    skip = 4
    if message.kind == NLMSG_ERROR:
        refused = struct.unpack_from("=I", message.body, 4)[0]
        skip += HEADER.size if message.flags & NLM_F_CAPPED else refused
    return attributes(message.body[skip:]).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode("utf-8", "replace")
