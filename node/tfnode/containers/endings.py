"""Why a process was killed that nobody has killed: its container ended with everything in it, or was put back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

from tfcore.wire.containers import ProcessEnded
from tfnode.containers.container import Container
from tfnode.containers.life import Generation
from tfnode.containers.standing import DOWN, MOVING, State
from tfnode.kernel.procfs import is_ending
from tfnode.runtime.interface import Exit

SECONDS = 5.0
"""How long it may take until the end of a container is known here whose processes are ending."""


async def told(container: Container, generation: Generation, how: Exit) -> ProcessEnded:
    """How a process of a generation ended, and why if it was with its container."""
    reason = await _reason(container, generation) if how.status is None or how.signal == signal.SIGKILL else ""
    return ProcessEnded(
        exit_code=128 + signal.SIGKILL if how.status is None else how.status, signal=how.signal or 0, reason=reason
    )


async def _reason(container: Container, generation: Generation) -> str:
    if _lives(container, generation) and not is_ending(generation.pid):
        return ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            await _news(container, generation)
    if container.state is State.GONE:
        return "its container was destroyed"
    if container.generation is generation and container.state in DOWN:
        return f"its container ended: {why_down(container)}"
    return "its container was rolled back or booted anew"


def _lives(container: Container, generation: Generation) -> bool:
    return container.generation is generation and container.state not in {*DOWN, *MOVING, State.GONE}


async def _news(container: Container, generation: Generation) -> None:
    """The end of the first process is told after that of all others."""
    with watching(container) as news:
        while _lives(container, generation):
            await news.wait()
            news.clear()


@contextlib.contextmanager
def watching(container: Container, news: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
    """During this block the event is set whenever the container's state changes."""
    event = news or asyncio.Event()
    container.standing.watchers.add(event)
    try:
        yield event
    finally:
        container.standing.watchers.discard(event)


def why_down(container: Container) -> str:
    """Why nothing runs in it, without its last words."""
    standing = container.standing
    if standing.state is State.FAILED and standing.failure is not None:
        return standing.failure.message
    return standing.ended.result() if standing.ended.done() else f"it is {standing.state}"
