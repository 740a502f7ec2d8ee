"""A shell in a container, or any command, with this process's standard streams: what is typed goes there, what it says
comes here. Without a pseudo terminal: lines are edited by the terminal here, and Ctrl-C ends the whole.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from tfcore.wire.containers import RunProcess
from tfnz import arguments, transfer

if TYPE_CHECKING:
    from tfnz.container import Container

CHUNK = 65536
AHEAD = 4
"""Chunks that are read before the container has taken them."""

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
) -> int:
    """Run a command in the container, its streams being ours, and wait for its end.

    Args:
        command: for `/bin/sh -c`; or the words of one that needs no shell.
        env, user, workdir: over the container's own.
        stdin: the descriptor it reads from; default: this process's own.
        timeout: seconds; it is killed then.

    Returns:
        Its exit code.

    Raises:
        ContainerDied: the container ended meanwhile. DeadlineExceeded: as it says.
    """
    source = _read(sys.stdin.fileno() if stdin is None else stdin)
    argv = () if isinstance(command, str) else tuple(command)
    request = RunProcess(
        command="" if argv else str(command),
        argv=argv,
        env=arguments.environment(env),
        user=user,
        workdir=workdir,
    )
    errand = container._errand(request, timeout)
    sinks = (_writer(container, sys.stdout.fileno()), _writer(container, sys.stderr.fileno()))
    done = container.location._io.call(transfer.run(errand, source, *sinks))
    written = threading.Event()
    container.location._callbacks.post(written.set)
    written.wait(timeout)  # a slow reader gets all of it
    return done.exit_code


def _writer(container: Container, descriptor: int) -> Callable[[bytes], None]:
    """Writing may block, so it is done where callbacks are."""

    def write(data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]

    return lambda data: container.location._callbacks.post(write, data)


async def _read(descriptor: int) -> AsyncIterator[bytes]:
    """What arrives there, until it ends. Read by a thread: terminals, pipes and files have no other way in common."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue(AHEAD)

    def read() -> None:
        data = b"..."
        while data:
            try:
                data = os.read(descriptor, CHUNK)
                asyncio.run_coroutine_threadsafe(chunks.put(data), loop).result()
            except (OSError, RuntimeError, asyncio.CancelledError):
                return  # the loop has ended, or there is nothing to be read

    threading.Thread(target=read, name="tfnz stdin", daemon=True).start()
    while data := await chunks.get():
        yield data
