"""Processes that somebody talks with: spawned, resized, signalled; and the main process, fed and listened to.

A process's id is chosen by who spawns it, so that whatever is said about it can be sent right after it is spawned.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tfcore.wire.containers import ProcessEnded
from tfcore.wire.header import LONGEST
from tfcore.wire.message import Done, Request
from tfcore.wire.terminal import Side, Terminal
from tfcore.wire.values import ObjectId, OptionalId, Text

LASTING = LONGEST
"""Seconds a request may take that lasts as long as what it is about: a process, a listener."""

PIECE = 64 * 1024
"""Bytes of stdin in one `FeedContainer`."""


class SpawnProcess(Request[ProcessEnded], frozen=True, kw_only=True, tag="process.spawn"):
    """Run a process; answered when it has ended. Cancelled, or its session over: it is killed with its children.

    Channel 0 is its stdin, 1 its stdout, 2 its stderr. With a terminal, 1 is all it writes, and the end of channel 0 is
    what Ctrl-D is.

    Attributes:
        process: the id it is to have.
        command: for `/bin/sh -c`.
        argv: instead of `command`, without a shell.
        shell: instead of both: the user's login shell if the image has it, else `/bin/sh`.
        env, user, workdir: over the main process's own.
        terminal: None: three pipes.
    """

    process: ObjectId
    command: Text = ""
    argv: tuple[str, ...] = ()
    shell: bool = False
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    workdir: str = ""
    terminal: Terminal | None = None


class AwaitProcess(Request[Done], frozen=True, kw_only=True, tag="process.await"):
    """Answer when the process runs. A failure to start it is the failure of `SpawnProcess`, too."""

    process: ObjectId


class ResizeTerminal(Request[Done], frozen=True, kw_only=True, tag="process.resize"):
    """Change the size of a process's terminal; of the container's main process if none is named. It gets SIGWINCH."""

    process: OptionalId = ""
    columns: Side
    rows: Side


class SignalProcess(Request[Done], frozen=True, kw_only=True, tag="process.signal"):
    """Send a signal to a process; to the container's main process if none is named.

    Attributes:
        all: to everything it has started and that has not left its session, too.
    """

    process: OptionalId = ""
    signal: Annotated[int, Meta(ge=1, le=64)]
    all: bool = False


class AttachContainer(Request[ProcessEnded], frozen=True, kw_only=True, tag="container.attach"):
    """Listen to what the container writes, on channels 1 and 2, and write to its stdin by channel 0.

    A slow listener slows the container: nothing is left out. Answered when its main process has ended and all was sent.
    Cancelled, the container goes on. It goes on over rollbacks and reboots.

    Attributes:
        since: the first record of its output to be sent; None: from now on.
        stay: until the container is removed, also over the end of its main process.
        speak: channel 0 is its stdin, and the end of it the end of that.
    """

    since: int | None = None
    stay: bool = False
    speak: bool = True


class FeedContainer(Request[Done], frozen=True, kw_only=True, tag="container.feed"):
    """Write to the stdin of the container's main process; answered when that has been handed on.

    Attributes:
        end: nothing comes after `data`.
    """

    data: Annotated[bytes, Meta(max_length=PIECE)] = b""
    end: bool = False
