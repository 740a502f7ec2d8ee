"""What a container writes, over all its generations: one log, a pair of readers and a stdin per generation.

Belongs to the event loop's thread. Knows nothing of what is written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from tfcore.errors import BadRequest, WrongState
from tfcore.wire.containers import LogRecord, LogsFound
from tfnode.containers.follower import Follower
from tfnode.containers.standard_streams import outputs_of
from tfnode.runtime.console import Console
from tfnode.runtime.log import ContainerLog
from tfnode.runtime.stdio import InputWriter, OutputReader, Pipes, Reactor

PAGE = 1024 * 1024
"""Bytes of output in one answer."""


class Output:
    """The output (and input) of one container."""

    def __init__(self, loop: Reactor) -> None:
        self._loop = loop
        self._log = ContainerLog()
        self._readers: dict[int, tuple[OutputReader, ...]] = {}
        self._inputs: dict[int, InputWriter] = {}
        self._aside: dict[int, ContainerLog] = {}
        self._consoles: dict[int, Console] = {}
        self._followers: set[Follower] = set()
        self._size: tuple[int, int] | None = None

    def put_aside(self, generation: int) -> None:
        """Keep what a generation will write out of the log until `bring_in`: it is not the container yet."""
        self._aside[generation] = ContainerLog()

    def bring_in(self, generation: int) -> None:
        """What a generation wrote while it was put aside, and what it writes from now on, belongs to the log."""
        self.catch_up(generation)
        aside = self._aside.pop(generation, None)
        if aside is not None:
            self._log.take_in(aside)
        for reader in self._readers.get(generation, ()):
            reader.into = self._log

    def attach(self, generation: int, pipes: Pipes) -> None:
        """Read what a generation writes, from now on; its stdin stays open, as with `docker run -i`."""
        into = self._aside.get(generation, self._log)
        stdin = InputWriter(pipes.take_stdin(), self._loop, terminal=pipes.console is not None)
        readers = tuple(
            OutputReader(fd, stream, generation=generation, into=into, held=lambda: self._held)
            for fd, stream in outputs_of(pipes)
        )
        for reader in readers:
            reader.attach(self._loop)
        self._readers[generation] = readers
        self._inputs[generation] = stdin
        if pipes.console is not None:
            self._consoles[generation] = pipes.console
        if stdin.terminal and self._size:
            stdin.resize(*self._size)

    def catch_up(self, generation: int) -> None:
        """Read what is there now: the last words of a generation that has just ended."""
        for reader in self._readers.get(generation, ()):
            reader.read()

    def detach(self, generation: int) -> None:
        """A generation is buried."""
        self.catch_up(generation)
        for reader in self._readers.pop(generation, ()):
            reader.close()
        stdin = self._inputs.pop(generation, None)
        if stdin is not None:
            stdin.close()
        console = self._consoles.pop(generation, None)
        if console is not None:
            console.close()
        self._aside.pop(generation, None)

    def close(self) -> None:
        """Let go of all pipes."""
        for generation in list(self._readers):
            self.detach(generation)

    # whoever listens and speaks

    @contextlib.contextmanager
    def followed(self, since: int | None, *, patient: bool) -> Iterator[Follower]:
        """Follow what is written during this block, from record `since` on (None: from now on).

        Args:
            patient: nothing is left out: the container waits while this is far behind.
        """
        follower = Follower(self._log, self._log.mark() if since is None else since)
        if patient:
            self._followers.add(follower)
            follower.caught_up = self._go_on
        try:
            yield follower
        finally:
            self._followers.discard(follower)
            follower.close()
            self._go_on()

    @property
    def _held(self) -> bool:
        return any(follower.far_behind for follower in self._followers)

    def _go_on(self) -> None:
        """A follower has come further: read again what was held back."""
        for readers in list(self._readers.values()):
            for reader in readers:
                reader.go_on()

    async def feed(self, generation: int, data: bytes | memoryview, *, end: bool) -> None:
        """Hand `data` to a generation's stdin, and its end; returns when the process has it.

        Raises:
            WrongState: its stdin is closed.
        """
        stdin = self._inputs.get(generation)
        if stdin is None:
            raise WrongState("the container's stdin is closed")
        if data:
            stdin.write(bytes(data))
        if end:
            stdin.end()
        read = asyncio.Event()
        stdin.when_read(read.set)
        await read.wait()

    def resize(self, generation: int, columns: int, rows: int) -> None:
        """Change the size of the main process's terminal, and of those of its later lives.

        Raises:
            BadRequest: it has none.
        """
        stdin = self._inputs.get(generation)
        if stdin is None or not stdin.terminal:
            raise BadRequest("the container's main process has no terminal", hint="spawn it with tty=True")
        self._size = columns, rows
        stdin.resize(columns, rows)

    @property
    def next(self) -> int:
        """The number of the next record."""
        return self._log.mark()

    def text_of(self, generation: int) -> str:
        """What a generation has written so far, as far as it is still in the log."""
        records = self._aside.get(generation, self._log).since(0).records
        data = b"".join(record.data for record in records if record.generation == generation)
        return data.decode("utf-8", "replace")

    def tail(self, generation: int | None = None) -> str:
        """The container's last words, or those of a generation that was put aside."""
        log = self._log if generation is None else self._aside.get(generation, self._log)
        return log.last_words()

    def page(self, since: int, *, ended: bool = False) -> LogsFound:
        """Records from `since` on, about a megabyte of them; `ended`: nothing runs in the container."""
        found = self._log.since(since, limit=PAGE)
        records = tuple(
            LogRecord(
                seq=record.seq,
                time=record.time,
                stream=record.stream.value,
                generation=record.generation,
                data=record.data,
            )
            for record in found.records
        )
        upto = min(found.next, self._log.mark())
        return LogsFound(records=records, next=upto, dropped=found.dropped, ended=ended and upto == self._log.mark())
