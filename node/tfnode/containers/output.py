"""What a container writes, over all its generations: one log, a pair of readers and a stdin per generation.

Belongs to the event loop's thread. Knows nothing of what is written.
"""

from __future__ import annotations

from tfcore.wire.containers import LogRecord, LogsFound
from tfnode.runtime.log import ContainerLog, Stream
from tfnode.runtime.stdio import InputWriter, OutputReader, Pipes, Reactor

PAGE = 1024 * 1024
"""Bytes of output in one answer."""


class Output:
    """The output (and input) of one container."""

    def __init__(self, loop: Reactor) -> None:
        self._loop = loop
        self._log = ContainerLog()
        self._readers: dict[int, tuple[OutputReader, OutputReader]] = {}
        self._inputs: dict[int, InputWriter] = {}
        self._aside: dict[int, ContainerLog] = {}

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
        readers = (
            OutputReader(pipes.take_stdout(), Stream.STDOUT, generation=generation, into=into),
            OutputReader(pipes.take_stderr(), Stream.STDERR, generation=generation, into=into),
        )
        for reader in readers:
            reader.attach(self._loop)
        self._readers[generation] = readers
        self._inputs[generation] = InputWriter(pipes.take_stdin(), self._loop)

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
        self._aside.pop(generation, None)

    def close(self) -> None:
        """Let go of all pipes."""
        for generation in list(self._readers):
            self.detach(generation)

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

    def page(self, since: int) -> LogsFound:
        """Records from `since` on, about a megabyte of them."""
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
        return LogsFound(records=records, next=min(found.next, self._log.mark()), dropped=found.dropped)
