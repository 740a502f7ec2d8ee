"""`tf-node serve` put together: the launcher's plan for this node's agent. Imports little: the agent is forked from here."""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfnode import config
from tfnode.kernel.confinement import confined
from tfnode.outside import leave_behind
from tfnode.process import launcher, userns
from tfnode.process.plan import HostSide, Life, NoUplink, Plan

F_SETSIG = 10
"""linux/fcntl.h; the module does not name it."""


def serve(path: Path, *, parent_fd: int | None = None) -> None:
    """Serve until SIGTERM, or until the pipe `parent_fd` ends.

    Raises:
        TfError: the configuration cannot be used, another launcher serves this root, or this machine lacks something.
    """
    loaded = config.read(path)
    loaded.root.mkdir(mode=0o711, parents=True, exist_ok=True)
    loaded.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    if parent_fd is not None:
        _end_with_parent(parent_fd)
        os.environ.pop("NOTIFY_SOCKET", None)  # whoever started the private location is not our service manager
    userns.become_root()
    launcher.run(
        Plan(
            agent_main=_agent(loaded),
            before_netns=lambda: leave_behind(portal=confined() and loaded.config.outgoing != "off"),
            root=loaded.root,
            run=loaded.run / "agent",
            after_netns=_uplink(loaded.config.outgoing),
            end_stragglers=_end_groups(loaded.group),
            sweep=_end_groups(loaded.group),
        )
    )


def _agent(loaded: config.Loaded) -> Callable[[Life[Any]], None]:
    def main(life: Life[Any]) -> None:
        from tfnode.agent import agent_main
        from tfnode.allocator import share_arenas

        share_arenas()
        agent_main(loaded)(life)

    return main


def _uplink(outgoing: str) -> Callable[[int, int], HostSide]:
    def connect(_agent_pid: int, netns: int) -> HostSide:
        from tfnode.network.uplink import TURNED_OFF, Outgoing, open_uplink
        from tfnode.network.wayout import SENTENCE

        if confined():
            return NoUplink(TURNED_OFF if outgoing == Outgoing.OFF.value else SENTENCE)

        return open_uplink(netns, Outgoing(outgoing))

    return connect


def _end_groups(name: str) -> Callable[[], None]:
    def end() -> None:
        from tfnode.cgroups import end_node_groups

        end_node_groups(name)

    return end


def _end_with_parent(fd: int) -> None:
    """A private location's node must not outlive it, however it ends: its end of the pipe closes with it, and the kernel
    turns that into SIGTERM. (A thread that reads would be in the way: the agent is forked from this process.)"""
    fcntl.fcntl(fd, F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([fd], [], [], 0)[0]:
        os.kill(os.getpid(), signal.SIGTERM)
