"""Commands in containers, asked for by their owner, and what is said to them while they run."""

from __future__ import annotations

from tfcore.errors import BadRequest
from tfcore.rpc.dispatcher import Call
from tfcore.wire import processes as wire
from tfcore.wire.containers import ProcessEnded, RunProcess
from tfcore.wire.message import Done
from tfnode.containers.container import Container
from tfnode.containers.endings import told
from tfnode.containers.life import Generation
from tfnode.containers.processes import Running, converse
from tfnode.containers.shells import login_shell
from tfnode.containers.standard_streams import console_of, with_term
from tfnode.handlers.containers import owned
from tfnode.runtime.interface import Command
from tfnode.runtime.stdio import Pipes


async def run_process(call: Call, msg: RunProcess) -> ProcessEnded:
    """Run it, its streams on the call's channels."""
    if bool(msg.command) == bool(msg.argv):
        raise BadRequest("give either a command for the shell or an argv")
    container = owned(call)
    generation = await container.booted()
    command = Command(_argv(msg.command, msg.argv), env=msg.env, workdir=msg.workdir, user=msg.user)
    with container.traces.touched("a command"):
        running = await _start(call, generation, command, Pipes.with_stdin())
        return await told(container, generation, await converse(running, call.stream))


async def spawn_process(call: Call, msg: wire.SpawnProcess) -> ProcessEnded:
    """Likewise, and others may speak of it meanwhile."""
    if [bool(msg.command), bool(msg.argv), msg.shell].count(True) != 1:
        raise BadRequest("give a command for the shell, an argv, or ask for a shell itself")
    container = owned(call)
    with container.conversations.entered(msg.process) as conversation:
        generation = await container.booted()
        argv = await _shell(call, container, generation, msg.user) if msg.shell else _argv(msg.command, msg.argv)
        command = Command(argv, env=with_term(msg.terminal, msg.env), workdir=msg.workdir, user=msg.user)
        pipes = Pipes.with_stdin() if msg.terminal is None else Pipes.with_terminal(console_of(msg.terminal))
        with container.traces.touched("a command"):
            running = await _start(call, generation, command, pipes)
            conversation.runs(running)
            return await told(container, generation, await converse(running, call.stream))


async def _start(call: Call, generation: Generation, command: Command, pipes: Pipes) -> Running:
    running = Running(call.peer.runtime, call.peer.executor, generation)
    try:
        await running.start(command, pipes)
    except BaseException:
        await running.close()
        raise
    return running


def _argv(command: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    return argv or ("/bin/sh", "-c", command)


async def _shell(call: Call, container: Container, generation: Generation, user: str) -> tuple[str, ...]:
    who = user or container.wish.user or container.birth.image.user
    return (await call.peer.work(login_shell, generation.root, who),)


async def await_process(call: Call, msg: wire.AwaitProcess) -> Done:
    """Answer when it runs."""
    await owned(call).conversations.started(msg.process)
    return Done()


async def resize_terminal(call: Call, msg: wire.ResizeTerminal) -> Done:
    """Of a process, or of the main process."""
    container = owned(call)
    if msg.process:
        (await container.conversations.started(msg.process)).resize(msg.columns, msg.rows)
    else:
        generation = await container.booted()
        container.output.resize(generation.number, msg.columns, msg.rows)
    return Done()


async def signal_process(call: Call, msg: wire.SignalProcess) -> Done:
    """To a process, or to the main process."""
    container = owned(call)
    with container.traces.touched("a signal"):
        if msg.process:
            running = await container.conversations.started(msg.process)
            await running.signal(msg.signal, all_of_it=msg.all)
        else:
            generation = await container.booted()
            await call.peer.work(call.peer.runtime.signal, generation.runtime_id, msg.signal)
    return Done()
