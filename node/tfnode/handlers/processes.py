"""Commands in containers, asked for by their owner."""

from __future__ import annotations

from tfcore.errors import BadRequest
from tfcore.rpc.dispatcher import Call
from tfcore.wire.containers import ProcessEnded, RunProcess
from tfnode.containers.processes import run_streamed
from tfnode.handlers.containers import owned
from tfnode.runtime.interface import Command


async def run_process(call: Call, msg: RunProcess) -> ProcessEnded:
    """Run it, its streams on the call's channels."""
    if bool(msg.command) == bool(msg.argv):
        raise BadRequest("give either a command for the shell or an argv")
    container = owned(call)
    generation = await container.booted()
    argv = msg.argv or ("/bin/sh", "-c", msg.command)
    command = Command(argv=argv, env=msg.env, workdir=msg.workdir, user=msg.user)
    agent = call.peer
    with container.traces.touched("a command"):
        code = await run_streamed(agent.runtime, agent.executor, generation, command, call.stream)
    return ProcessEnded(exit_code=code)
