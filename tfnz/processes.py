"""What is done with processes in a container, and with its main process: mixed into `Container`, which has the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tfcore.errors import BadRequest, TfError, WrongState
from tfcore.wire import containers as wire
from tfcore.wire.processes import PIECE, AttachContainer, FeedContainer
from tfcore.wire.terminal import Terminal
from tfnz import arguments, transfer
from tfnz.conversation import Conversation
from tfnz.delivery import Delivery
from tfnz.duplex import Duplex, spawn_request
from tfnz.process import Process
from tfnz.transfer import Completed

if TYPE_CHECKING:
    from tfnz.container import Container

log = logging.getLogger(__name__)

Callback = Callable[..., object] | None


class Processes:
    """Running, spawning, talking."""

    def run_process(  # type: ignore[misc]
        self: Container,
        command: str,
        *,
        data_callback: Callback = None,
        stderr_callback: Callback = None,
        nolog: bool = False,
        timeout: float = 240.0,
        env: arguments.Pairs = None,
        user: str = "",
        workdir: str = "",
        stdin: arguments.Content = b"",
    ) -> Completed:
        """Run a command by `/bin/sh -c` in the container and wait for its end.

        Args:
            data_callback: called with (container, bytes) as stdout arrives, instead of collecting it.
            stderr_callback: the same for stderr.
            nolog: keep the command out of the log, since it holds a secret.
            timeout: seconds; the process is killed then.
            env, user, workdir: over the container's own.
            stdin: what it reads.

        Returns:
            (stdout, stderr, exit_code).

        Raises:
            BadRequest: the command is not one string. DeadlineExceeded: as it says. ContainerDied: it ended meanwhile.
        """
        if not isinstance(command, str):
            raise BadRequest("the command is one string, for the container's shell", hint="shlex.join() makes one")
        log.info("Running in %s: %s", self.uuid, "***" if nolog else command)
        request = wire.RunProcess(command=command, env=arguments.environment(env), user=user, workdir=workdir)
        errand = self._errand(request, timeout)
        given = arguments.content(stdin, what="stdin")
        return self.location._io.call(_run(self, errand, given, data_callback, stderr_callback))

    def spawn_process(  # type: ignore[misc]
        self: Container,
        command: str,
        data_callback: Callback = None,
        termination_callback: Callback = None,
        stderr_callback: Callback = None,
        *,
        env: arguments.Pairs = None,
        user: str = "",
        workdir: str = "",
        nolog: bool = False,
    ) -> Process:
        """Start a command by `/bin/sh -c` in the container; returns when it runs.

        Its stdin is open until `Process.stdin(b"")`. Callbacks run one at a time on a thread of their own, those of one
        process in order; they may block and may use the SDK. What one raises is logged, and raised by `Location.run`.

        Args:
            data_callback: called with (process, bytes) as stdout arrives; without one it is kept for
                `Process.wait_until_complete`, 16 MiB of it until somebody waits.
            termination_callback: called with (process, exit code), or with (process) if it takes no more, after all its
                output. The code is 128 + the signal that killed it; None if nobody knows.
            stderr_callback: called with (process, bytes) as stderr arrives; without one it is not kept.
            env, user, workdir: over the container's own.
            nolog: keep the command out of the log, since it holds a secret.

        Raises:
            BadRequest: the command is not one string, or there is no such user. CommandFailed: there is no /bin/sh.
            ContainerDied: nothing runs in the container.
        """
        log.info("Spawning in %s: %s", self.uuid, "***" if nolog else command)
        self._check()
        return Process(
            self,
            spawn_request(command, env=env, user=user, workdir=workdir),
            data_callback=data_callback,
            stderr_callback=stderr_callback,
            termination_callback=termination_callback,
        )

    def spawn_shell(  # type: ignore[misc]
        self: Container,
        data_callback: Callback = None,
        termination_callback: Callback = None,
        echo: bool = True,
        *,
        columns: int = 80,
        rows: int = 24,
        term: str = "xterm",
        env: arguments.Pairs = None,
        user: str = "",
        workdir: str = "",
    ) -> Process:
        """Start the user's login shell, or /bin/sh if the image has none, at a terminal of its own.

        Args:
            data_callback: called with (process, bytes) as the terminal shows something.
            termination_callback: as in `spawn_process`.
            echo: the terminal shows what is typed; the shell may do so by itself.
            columns, rows, term: the terminal's size, and TERM; `Process.resize` changes the size.
            env, user, workdir: over the container's own.

        Raises:
            As `spawn_process`.
        """
        self._check()
        terminal = Terminal(columns=columns, rows=rows, term=term, echo=bool(echo))
        return Process(
            self,
            spawn_request(shell=True, env=env, user=user, workdir=workdir, terminal=terminal),
            data_callback=data_callback,
            stderr_callback=None,
            termination_callback=termination_callback,
        )

    def all_processes(self: Container) -> list[Process]:  # type: ignore[misc]
        """The spawned processes and shells that have not ended."""
        return list(self._processes.values())

    def destroy_process(self: Container, process: Process) -> None:  # type: ignore[misc]
        """`process.destroy()` (seed 002: the parent destroys its children).

        Raises:
            WrongState: it is not one of this container's, or destroyed already.
        """
        if not isinstance(process, Process) or process.container is not self:
            raise WrongState(f"{process!r} is not a process of {self.uuid}")
        process.destroy()

    # without callbacks

    def open_process(  # type: ignore[misc]
        self: Container,
        command: str = "",
        *,
        argv: Sequence[str] = (),
        shell: bool = False,
        terminal: Terminal | None = None,
        env: arguments.Pairs = None,
        user: str = "",
        workdir: str = "",
    ) -> Conversation:
        """Start a process whose streams are read and written by calls; it is killed when that object is closed.

        Args:
            command: for `/bin/sh -c`; or `argv`: without a shell; or `shell`: as `spawn_shell`.
            terminal: what it has instead of three pipes.
            env, user, workdir: over the container's own.

        Raises:
            As `spawn_process`.
        """
        self._check()
        request = spawn_request(
            command, argv=tuple(argv), shell=shell, env=env, user=user, workdir=workdir, terminal=terminal
        )
        connection = self.location._connection
        return Conversation(self.location, self.location._io.call(Duplex.spawn(connection, self.uuid, request)))

    def attach(self: Container, since: int | None = None, *, speak: bool = True) -> Conversation:  # type: ignore[misc]
        """Listen to the main process from here, and speak to it; closing that object leaves it running.

        It goes on over rollbacks and reboots, and ends when the main process has ended. While it is not read, the container
        has to wait with what it writes.

        Args:
            since: from this place in the log on, e.g. 0 or a `log_mark()`; None: from now on.
            speak: what is written goes to the container's stdin, and the end of it ends that.
        """
        self._check()
        request = AttachContainer(since=since, speak=speak)
        connection = self.location._connection
        return Conversation(self.location, self.location._io.call(Duplex.attach(connection, self.uuid, request)))

    def stdin(self: Container, data: arguments.Content, *, timeout: float = 60.0) -> None:  # type: ignore[misc]
        """Send bytes (or text) to the main process's stdin; none at all end it (gen 2: empty closes).

        Raises:
            WrongState: it is closed. DeadlineExceeded: it is not read.
        """
        content = memoryview(arguments.content(data, what="stdin"))
        for at in range(0, len(content), PIECE):
            self._ask(FeedContainer(data=bytes(content[at : at + PIECE])), timeout=timeout)
        if not content:
            self._ask(FeedContainer(end=True), timeout=timeout)

    def _listen(self: Container) -> None:  # type: ignore[misc]
        """Hand what its main process writes to its `stdout_callback`, from the first byte on."""
        if self.stdout_callback is not None:
            self._listening = self.location._io.call(_begin_to_listen(self, self.stdout_callback))


async def _run(container: Container, errand: transfer.Errand, stdin: bytes, out: Callback, err: Callback) -> Completed:
    lane = object()
    sinks = [
        None if callback is None else Delivery(container.location._callbacks, lane, callback, container)
        for callback in (out, err)
    ]
    done = await transfer.run(errand, stdin, sinks[0], sinks[1])
    for sink in sinks:
        if sink is not None:
            await sink.drained()
    return done


async def _begin_to_listen(container: Container, callback: Callable[..., object]) -> asyncio.Task[None]:
    request = AttachContainer(since=0, stay=True, speak=False)
    duplex = await Duplex.attach(container.location._connection, container.uuid, request)
    return asyncio.get_running_loop().create_task(_hear(container, duplex, callback))


async def _hear(container: Container, duplex: Duplex, callback: Callable[..., object]) -> None:
    delivery = Delivery(container.location._callbacks, container, callback, container)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pass_on(duplex, delivery))
            both.create_task(_ignore(duplex))
    except* TfError as lost:
        log.info("nothing more is heard of container %s: %s", container.uuid, lost.exceptions[0])


async def _pass_on(duplex: Duplex, delivery: Delivery) -> None:
    while piece := await duplex.read():
        await delivery(bytes(piece))


async def _ignore(duplex: Duplex) -> None:
    """Stderr that nobody reads would hold stdout up."""
    while await duplex.read_errors():
        pass
