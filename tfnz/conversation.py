"""A process's streams for threads: `tfnz.duplex` with calls that block. For whoever has a terminal or a file at this end.

    with container.open_process(argv=("sh",), terminal=Terminal(columns=120, rows=40)) as talk:
        talk.write(b"exit 3\\n")
        while piece := talk.read(): ...
        assert talk.wait().exit_code == 3

One thread may read, another read errors, and a third write, all at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tfcore.errors import DeadlineExceeded, SessionLost, WrongState
from tfcore.wire.containers import ProcessEnded
from tfnz.duplex import Duplex

if TYPE_CHECKING:
    from tfnz.location import Location

T = TypeVar("T")


class Conversation:
    """With one process; made by `Container.open_process` and `Container.attach`."""

    def __init__(self, location: Location, duplex: Duplex) -> None:
        self._location = location
        self._duplex = duplex

    def read(self) -> bytes:
        """The next piece of stdout, or of what its terminal shows; b"" at the end. Errors as `Duplex.read`."""
        return bytes(self._do(self._duplex.read()))

    def read_errors(self) -> bytes:
        """The next piece of stderr; b"" at the end."""
        return bytes(self._do(self._duplex.read_errors()))

    def write(self, data: bytes) -> None:
        """Send `data` to its stdin; waits while it is far ahead of the process."""
        self._do(self._duplex.write(bytes(data)))

    def finish(self) -> None:
        """Nothing more comes on its stdin; with a terminal that is Ctrl-D."""
        self._do(_now(self._duplex.finish))

    def resize(self, columns: int, rows: int) -> None:
        """Give its terminal another size. NotFound if it has ended."""
        self._do(self._duplex.resize(columns, rows))

    def signal(self, number: int, *, all_of_it: bool = False) -> None:
        """Send it a signal; `all_of_it`: also to what it has started. NotFound if it has ended."""
        self._do(self._duplex.signal(number, all_of_it=all_of_it))

    def wait(self, timeout: float | None = None) -> ProcessEnded:
        """How it ended.

        Raises:
            DeadlineExceeded: it still runs after `timeout` seconds. TfError: it was lost.
        """
        return self._do(_within(timeout, self._duplex.wait))

    def close(self) -> None:
        """Let go: a spawned process is killed if it still runs, a main process goes on. Harmless after the session's end."""
        with contextlib.suppress(SessionLost, WrongState):
            self._do(self._duplex.abandon())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            portal = self._location._io
        except BaseException:
            work.close()
            raise
        return portal.call(work)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


async def _now(function: Any) -> None:
    function()


async def _within(timeout: float | None, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        async with asyncio.timeout(timeout) as limit:
            return await work()
    except TimeoutError as late:
        if not limit.expired():
            raise
        raise DeadlineExceeded(f"the process still ran after {timeout:g} s") from late
