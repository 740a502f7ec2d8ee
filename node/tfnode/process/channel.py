"""What launcher and agent say to each other: a socket pair that keeps messages apart, carries descriptors and shows a death.

Either end reads an end of file as soon as the other process is dying, before the kernel has finished with it. Knows
nothing of what the words mean.
"""

from __future__ import annotations

import enum
import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

LONGEST = 131_072
"""Bytes of one message at most; senders keep within it."""

MOST_FDS = 8
"""Descriptors one message can carry."""


class Word(enum.Enum):
    """What can be said; the comment says by whom."""

    IN_NETNS = b"in-netns"  # agent: I am in my network namespace, here it is (one descriptor)
    GO_ON = b"go-on"  # launcher: the uplink is made
    UP = b"up"  # agent: I do my work
    FAILED = b"failed"  # agent: I end, and the body says why


@dataclass(frozen=True)
class Message:
    """One word with its body; whoever receives it owns its descriptors."""

    word: Word
    body: bytes = b""
    fds: tuple[int, ...] = ()


class Channel:
    """One end of the pair."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Two connected ends; close the other process's one after the fork."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def fileno(self) -> int:
        """The descriptor to poll: readable when there is a message or the other end is gone."""
        return self._sock.fileno()

    def send(self, word: Word, body: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Say `word`; the receiver gets duplicates of `fds`.

        Raises:
            OSError: the other end is gone.
        """
        socket.send_fds(self._sock, [word.value + b"\n" + body], list(fds))

    def receive(self, timeout: float | None = None) -> Message | None:
        """The next message; None when the other end is gone.

        Args:
            timeout: seconds to wait; for ever by default.

        Raises:
            TimeoutError: nothing was said in time.
        """
        self._sock.settimeout(timeout)
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, LONGEST, MOST_FDS)
        except ConnectionResetError:  # it went without reading our last message
            return None
        if not data:
            return None
        for fd in fds:
            os.set_inheritable(fd, False)
        word, _, body = data.partition(b"\n")
        return Message(Word(word), body, tuple(fds))

    def last_words(self) -> Message | None:
        """A message that is already there; None if there is none."""
        try:
            return self.receive(0)
        except BlockingIOError:
            return None

    def other_end_is_gone(self) -> bool:
        """True if the other process has ended (or closed its end); unread messages do not hide it."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def close(self) -> None:
        """Close this end."""
        self._sock.close()
