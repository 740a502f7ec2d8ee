"""What a container's main process has for its stdin and output: three pipes, or a terminal. Pure but for making them."""

from __future__ import annotations

from tfcore.wire.containers import ContainerWish
from tfcore.wire.terminal import Terminal
from tfnode.runtime.console import Console
from tfnode.runtime.launch import Wish
from tfnode.runtime.log import Stream
from tfnode.runtime.stdio import Pipes

Pairs = tuple[tuple[str, str], ...]


def pipes_for(wish: ContainerWish) -> Pipes:
    """What was wished for."""
    return Pipes.with_stdin() if wish.terminal is None else Pipes.with_terminal(console_of(wish.terminal))


def console_of(terminal: Terminal) -> Console:
    """A terminal to be handed over by the runtime."""
    return Console(terminal.columns, terminal.rows, echo=terminal.echo)


def launch_wish(wish: ContainerWish) -> Wish:
    """What the main process is to be instead of what the image says."""
    return Wish(
        command=wish.command,
        entrypoint=wish.entrypoint,
        env=with_term(wish.terminal, wish.env),
        workdir=wish.workdir,
        user=wish.user,
    )


def with_term(terminal: Terminal | None, env: Pairs) -> Pairs:
    """TERM goes with a terminal, unless it was asked for otherwise."""
    return env if terminal is None else (("TERM", terminal.term), *env)


def outputs_of(pipes: Pipes) -> list[tuple[int, Stream]]:
    """Our ends of its outputs, taken: a terminal's is one."""
    if pipes.console is not None:
        return [(pipes.take_stdout(), Stream.STDOUT)]
    return [(pipes.take_stdout(), Stream.STDOUT), (pipes.take_stderr(), Stream.STDERR)]
