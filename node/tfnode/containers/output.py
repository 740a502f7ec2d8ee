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

    def attach(self, generation: int, pipes: Pipes) -> None:
        """Read what a generation writes, from now on; its stdin stays open, as with `docker run -i`."""
        readers = (
            OutputReader(pipes.take_stdout(), Stream.STDOUT, generation=generation, into=self._log),
            OutputReader(pipes.take_stderr(), Stream.STDERR, generation=generation, into=self._log),
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
        records = self._log.since(0).records
        data = b"".join(record.data for record in records if record.generation == generation)
        return data.decode("utf-8", "replace")

    def tail(self) -> str:
        """Its last words."""
        return self._log.last_words()

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
