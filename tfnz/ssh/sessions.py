"""Commands and shells: an ssh session channel on one side, a process of the container on the other.

A process ends with its channel, as under sshd without a terminal's help: who goes away leaves nothing running.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal

import asyncssh

from tfcore.errors import TfError
from tfcore.ids import new_id
from tfcore.rpc.streams import ERRORS, OUTPUT
from tfcore.wire.processes import ResizeTerminal, SignalProcess, SpawnProcess
from tfcore.wire.terminal import Terminal
from tfnz.ssh.bridge import Bridge, Talk
from tfnz.ssh.logins import Login

log = logging.getLogger(__name__)

PIECE = 64 << 10
CONNECTION_TROUBLE = 255
"""The exit status by which ssh itself says that it was not the command that failed."""

_NAME = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")
_TERM = re.compile(r"\A[0-9A-Za-z][0-9A-Za-z+._-]{0,63}\Z")
LARGEST = 32767

Process = asyncssh.SSHServerProcess[bytes]


async def serve(bridge: Bridge, login: Login, workdir: str, process: Process) -> None:
    """Run what a client asks for, to its end; its exit status or signal is the channel's."""
    request = request_for(process, login, workdir)
    try:
        async with bridge.talk(request) as talk:
            await _converse(bridge, talk, request.process, process)
    except TfError as error:
        log.info("a process of an ssh session in %s: %s", bridge.container.uuid, error)
        _tell(process, f"{error}\n")
        process.exit(CONNECTION_TROUBLE)
    except (OSError, asyncssh.Error) as gone:
        log.debug("an ssh session ended early: %s", gone)


def request_for(process: Process, login: Login, workdir: str) -> SpawnProcess:
    """What a channel's requests (`env`, `pty-req`, `exec`, `shell`; RFC 4254, 6) are for a container."""
    asked = {_text(name): _text(value) for name, value in process.env.items()}
    env = {
        **dict(login.env),
        **{name: value for name, value in asked.items() if _NAME.match(name) and "\0" not in value},
    }
    command = process.command or ""
    return SpawnProcess(
        process=new_id("p"),
        command=command,
        shell=not command,
        env=tuple(env.items()),
        user=login.user,
        workdir=workdir,
        terminal=_terminal(process),
    )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _terminal(process: Process) -> Terminal | None:
    if process.term_type is None:
        return None
    columns, rows = _size(process.term_size)
    name = process.term_type if _TERM.match(process.term_type) else "xterm"
    return Terminal(columns=columns, rows=rows, term=name)


def _size(asked: tuple[int, int, int, int]) -> tuple[int, int]:
    """Columns and rows; a client that knows none says 0."""
    columns, rows = asked[:2]
    return min(columns or 80, LARGEST), min(rows or 24, LARGEST)


async def _converse(bridge: Bridge, talk: Talk, identifier: str, process: Process) -> None:
    feeding = asyncio.ensure_future(_feed(bridge, talk, identifier, process))
    showing = asyncio.gather(
        _show(talk, OUTPUT, process.stdout), _show(talk, ERRORS, process.stderr), return_exceptions=False
    )
    try:
        replying = asyncio.ensure_future(talk.reply())
        await asyncio.wait((replying, feeding), return_when=asyncio.FIRST_COMPLETED)
        if not replying.done():
            feeding.result()
        ended = await replying
        await showing
    finally:
        for task in (feeding, showing, replying):
            task.cancel()
        await asyncio.gather(feeding, showing, replying, return_exceptions=True)
    if ended.reason:
        _tell(process, f"{ended.reason}\n")
    if ended.signal:
        process.exit_with_signal(_name_of(ended.signal))
    else:
        process.exit(ended.exit_code & 0xFF)


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"{number}@20ft.nz"  # RFC 4254, 6.10: names of one's own have an @ in them


async def _feed(bridge: Bridge, talk: Talk, identifier: str, process: Process) -> None:
    """Its stdin until that ends; between the bytes, what has become of the terminal and which signals were sent.

    Raises:
        BrokenPipeError: the client has gone.
    """
    with contextlib.suppress(TfError):  # it has ended, or does not read any more: its end is told elsewhere
        while await _one_thing(bridge, talk, identifier, process):
            pass
        await talk.finish()
    await process.channel.wait_closed()
    raise BrokenPipeError("the client has closed the channel")


async def _one_thing(bridge: Bridge, talk: Talk, identifier: str, process: Process) -> bool:
    """Pass on the next thing that the client says; False if it has nothing more to say."""
    try:
        data = await process.stdin.read(PIECE)
    except asyncssh.TerminalSizeChanged as changed:
        columns, rows = _size(changed.term_size)
        await bridge.call(ResizeTerminal(process=identifier, columns=columns, rows=rows))
    except asyncssh.SignalReceived as received:
        await _signal(bridge, identifier, received.signal)
    except asyncssh.BreakReceived:
        await _signal(bridge, identifier, "INT")
    else:
        if data:
            await talk.write(data)
        return bool(data)
    return True


async def _signal(bridge: Bridge, identifier: str, name: str) -> None:
    number = getattr(signal, f"SIG{name}", None)
    if number is not None:
        await bridge.call(SignalProcess(process=identifier, signal=int(number), all=True))


async def _show(talk: Talk, channel: int, into: asyncssh.SSHWriter[bytes]) -> None:
    async for data in talk.chunks(channel):
        into.write(data)
        await into.drain()


def _tell(process: Process, words: str) -> None:
    """On stderr; a terminal needs its carriage returns."""
    process.stderr.write(words.replace("\n", "\r\n" if process.term_type else "\n").encode())
