"""A TCP cable between clients and a server on this machine, that can be cut, and made slow."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


class Cable:
    """Listens on a port of the loopback and carries every connection to another one.

    Args:
        port: where the server listens, or will.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._delay = 0.0
        self._whole = True
        self._ends: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._loop.call_soon(self._ready.set)
        self._loop.run_forever()

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """For the length of the block nothing goes through: connections are reset, new ones too."""
        self._do(self._set, False)
        try:
            yield
        finally:
            self._do(self._set, True)

    @contextlib.contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """For the length of the block everything comes that much later."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    def close(self) -> None:
        """Cut it for good."""
        self._do(self._set, False)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _do(self, what, *arguments: object) -> None:  # type: ignore[no-untyped-def]
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (what(*arguments), done.set()))
        assert done.wait(10)

    def _set(self, whole: bool) -> None:
        self._whole = whole
        if not whole:
            for end in self._ends:
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, far_writer}
        try:
            await asyncio.gather(self._one_way(reader, far_writer), self._one_way(far_reader, writer))
        finally:
            self._ends -= {writer, far_writer}
            writer.transport.abort()
            far_writer.transport.abort()

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._delay:
                    await asyncio.sleep(self._delay)
                writer.write(data)
                await writer.drain()
            writer.write_eof()
