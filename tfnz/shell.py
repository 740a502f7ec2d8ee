"""A shell in a container, or any command, with this process's standard streams, or with its terminal: what is typed goes
there, what it says comes here. Without a terminal of its own lines are edited by the one here, and Ctrl-C ends the whole.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tfcore.errors import TfError
from tfnz import arguments
from tfnz.descriptors import write_all

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.conversation import Conversation

CHUNK = 65536

DAY = 86_400.0
"""Seconds after which it is over in any case."""


def attach(
    container: Container,
    command: str | Sequence[str],
    *,
    env: arguments.Pairs = None,
    user: str = "",
    workdir: str = "",
    stdin: int | None = None,
    timeout: float = DAY,
    tty: bool = False,
) -> int:
    """Run a command in the container, its streams being ours, and wait for its end.

    Args:
        command: for `/bin/sh -c`; or the words of one that needs no shell.
        env, user, workdir: over the container's own.
        stdin: the descriptor it reads from; default: this process's own.
        timeout: seconds; it is killed then.
        tty: it gets our terminal as its own (`tfnz.terminal`), until it ends or ^] three times leaves it.

    Returns:
        Its exit code.

    Raises:
        BadRequest: `tty`, and our standard input is no terminal.
        ContainerDied: the container ended meanwhile. DeadlineExceeded: as it says.
    """
    text, argv = (command, ()) if isinstance(command, str) else ("", tuple(command))
    if tty:
        return _at_terminal(container, text, argv, env=env, user=user, workdir=workdir)
    source = sys.stdin.fileno() if stdin is None else stdin
    with container.open_process(text, argv=argv, env=env, user=user, workdir=workdir) as talk:
        threading.Thread(target=_feed, args=(talk, source), name="tfnz stdin", daemon=True).start()
        complaining = threading.Thread(target=_copy, args=(talk.read_errors, sys.stderr.fileno()), daemon=True)
        complaining.start()
        _copy(talk.read, sys.stdout.fileno())
        complaining.join(timeout)
        return talk.wait(timeout).exit_code


def _at_terminal(
    container: Container, command: str, argv: tuple[str, ...], *, env: arguments.Pairs, user: str, workdir: str
) -> int:
    from tfnz import terminal

    with container.open_process(
        command, argv=argv, terminal=terminal.here(), env=env, user=user, workdir=workdir
    ) as talk:
        return terminal.converse(talk) or 0


def _feed(talk: Conversation, descriptor: int) -> None:
    """What arrives there, until it ends. Terminals, pipes and files have no other way in common than a blocking read."""
    with contextlib.suppress(OSError, TfError):  # there is nothing to be read, or the command has ended
        while data := os.read(descriptor, CHUNK):
            talk.write(data)
        talk.finish()


def _copy(read: Callable[[], bytes], descriptor: int) -> None:
    with contextlib.suppress(TfError):  # `wait` tells why
        while data := read():
            write_all(descriptor, data)
