"""A process in a container, with callbacks: what `spawn_process` and `spawn_shell` of both generations give.

Its output is read by the I/O thread, which waits for callbacks that are slow: no more than a few megabytes are on their way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal as signals
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from tfcore.errors import ContainerDied, DeadlineExceeded, NotFound, TfError, WrongState
from tfcore.wire.processes import SpawnProcess
from tfcore.wire.terminal import Terminal
from tfnz import arguments, callbacks
from tfnz.delivery import Delivery
from tfnz.duplex import Duplex
from tfnz.hearing import Hearing

if TYPE_CHECKING:
    from tfnz.container import Container

log = logging.getLogger(__name__)

SAYING = 60.0
"""Seconds that a process may leave its stdin unread before that is an error."""

READING = 2.0
"""Seconds to wait for the last output of a process that was destroyed, which a callback may be in the way of."""

Callback = Callable[..., object] | None
Read = Callable[[], Awaitable[bytes | memoryview]]


class Process:
    """Made by `Container.spawn_process` and `spawn_shell`, never by hand.

    Attributes:
        uuid: its id.
        container: where it runs.
        exit_code: None while it runs, and if nobody knows; 128 + the signal's number if one killed it.
        reason: why it ended, if that was with its container; else empty.
    """

    def __init__(
        self,
        container: Container,
        request: SpawnProcess,
        *,
        data_callback: Callback,
        stderr_callback: Callback,
        termination_callback: Callback,
    ) -> None:
        self.container = container
        self.uuid = request.process
        self.data_callback = data_callback
        self.stderr_callback = stderr_callback
        self.termination_callback = termination_callback
        self.exit_code: int | None = None
        self.reason = ""
        self._destroyed = False
        self._failure: TfError | None = None
        self._said = Hearing(self.uuid)
        self._deliveries: list[Delivery] = []
        self._gone = asyncio.Event()
        self._over = asyncio.Event()
        self._life = container.location._io.call(self._begin(request))

    async def _begin(self, request: SpawnProcess) -> asyncio.Task[None]:
        self._duplex = await Duplex.spawn(self.container.location._connection, self.container.uuid, request)
        self.container._processes[self.uuid] = self
        return asyncio.get_running_loop().create_task(self._live())

    # in the I/O loop

    async def _live(self) -> None:
        try:
            async with asyncio.TaskGroup() as life:
                life.create_task(self._until_gone())
                life.create_task(self._pass_on(self._duplex.read, self.data_callback, self._said))
                life.create_task(self._pass_on(self._duplex.read_errors, self.stderr_callback, None))
        finally:
            self._said.end()
            self._over.set()
            told = callbacks.fitting(self.termination_callback, self, self.exit_code)
            self.container.location._callbacks.post(told, lane=self)

    async def _until_gone(self) -> None:
        """It may be gone long before its callbacks have had all its output."""
        try:
            ended = await self._duplex.wait()
            self.exit_code, self.reason = ended.exit_code, ended.reason
        except TfError as lost:
            self._failure, self.reason = lost, lost.message
        except asyncio.CancelledError:
            self.reason = "its location was disconnected"
            raise
        finally:
            self._gone.set()
            self.container._processes.pop(self.uuid, None)
            log.info("Process %s ended: %s", self.uuid, self.reason or self.exit_code)

    async def _pass_on(self, read: Read, callback: Callback, said: Hearing | None) -> None:
        delivery = None
        if callback is not None:
            delivery = Delivery(self.container.location._callbacks, self, callback, self)
            self._deliveries.append(delivery)
        with contextlib.suppress(TfError):  # `_until_gone` knows why
            while piece := bytes(await read()):
                if said is not None:
                    said.hear(piece, keep=delivery is None)
                if delivery is not None:
                    await delivery(piece)

    # for everybody else

    @property
    def running(self) -> bool:
        """False once it has ended, or was lost."""
        return not self._gone.is_set()

    def stdin(self, data: arguments.Content, return_reply: bool = False, drop_echo: bool = False) -> bytes | None:
        """Send bytes (or text) to its stdin; none at all end it, which at a terminal is Ctrl-D (gen 2: empty closes).

        Args:
            return_reply: wait for what it says to that, and return it (gen 1): until it has been silent for a moment.
            drop_echo: leave out of the reply what a terminal repeats of `data`.

        Raises:
            WrongState: it has ended. DeadlineExceeded: it does not read, or does not reply.
        """
        self._check()
        content = arguments.content(data, what="stdin")
        return self.container.location._io.call(self._say(content, return_reply=return_reply, drop_echo=drop_echo))

    async def _say(self, data: bytes, *, return_reply: bool, drop_echo: bool) -> bytes | None:
        with self._said.heard() as heard:
            try:
                async with asyncio.timeout(SAYING):
                    if data:
                        await self._duplex.write(data)
                    else:
                        self._duplex.finish()
            except TimeoutError as late:
                raise DeadlineExceeded(f"process {self.uuid} has not read its stdin for {SAYING:g} s") from late
            except TfError as gone:
                raise WrongState(f"process {self.uuid} has ended: {gone.message}") from gone
            if not return_reply:
                return None
            reply = await heard.reply()
        echo = data.replace(b"\n", b"\r\n")
        return reply.removeprefix(echo) if drop_echo else reply

    def resize(self, columns: int, rows: int) -> None:
        """Give its terminal another size.

        Raises:
            BadRequest: it has none, or that is no size. WrongState: it has ended.
        """
        self._tell(lambda: self._duplex.resize(columns, rows))

    def signal(self, number: int) -> None:
        """Send a signal to it alone.

        Raises:
            WrongState: it has ended.
        """
        self._tell(lambda: self._duplex.signal(number))

    def _tell(self, saying: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._check()
        try:
            self.container.location._io.call(saying())
        except NotFound as gone:
            raise WrongState(f"process {self.uuid} has ended") from gone

    def destroy(self) -> None:
        """Kill it, with all it has started; nothing happens if it has ended by itself.

        When this returns it has ended, and `exit_code` says how unless much of its output is still unread: its callbacks get
        all of it, the termination callback last. One of these may call this, too.

        Raises:
            WrongState: it was destroyed before.
        """
        if self._destroyed:
            raise WrongState(f"process {self.uuid} is destroyed")
        self._destroyed = True
        if self.running:
            self.container.location._io.call(self._kill(wait=not callbacks.runs_callback_of(self)))

    async def _kill(self, *, wait: bool) -> None:
        with contextlib.suppress(NotFound):
            await self._duplex.signal(signals.SIGKILL, all_of_it=True)
        if wait:  # for the news of its end, which come after its output
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READING):
                    await self._gone.wait()

    def wait_until_complete(self, timeout: float | None = None) -> bytes:
        """Block until it has ended and its callbacks have had all it wrote (seed 001).

        Args:
            timeout: seconds; None: as long as it takes.

        Returns:
            its stdout, unless that went to a `data_callback`: b"" then.

        Raises:
            ContainerDied: it ended with its container; the message says why. DeadlineExceeded: it still runs.
            Exhausted: it wrote more than was kept for whoever might wait. WrongState: called from its own callback, whose
                end it waits for.
        """
        if callbacks.runs_callback_of(self):
            raise WrongState("a process's callback cannot wait for the end of that process", hint="do it elsewhere")
        return self.container.location._io.call(self._wait(timeout))

    async def _wait(self, timeout: float | None) -> bytes:
        self._said.claim()
        try:
            async with asyncio.timeout(timeout):
                await self._over.wait()
                for delivery in self._deliveries:
                    await delivery.drained()
        except TimeoutError as late:
            raise DeadlineExceeded(f"process {self.uuid} still runs after {timeout:g} s") from late
        if self._failure is not None:
            raise self._failure
        if self.reason:
            raise ContainerDied(f"process {self.uuid} has ended: {self.reason}")
        return self._said.all()

    def _check(self) -> None:
        if self._destroyed:
            raise WrongState(f"process {self.uuid} is destroyed")
        if not self.running:
            raise WrongState(f"process {self.uuid} has ended" + (f": {self.reason}" if self.reason else ""))

    def __repr__(self) -> str:
        how = "running" if self.running else f"ended {self.exit_code}"
        return f"<Process {self.uuid} in {self.container.uuid} {how}>"


__all__ = ["Process", "Terminal"]
