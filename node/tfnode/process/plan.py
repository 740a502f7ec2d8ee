"""What a node's processes are told to do, and what each life of the agent gets to know.

Whoever assembles a node fills in a `Plan` and calls `launcher.run`. Knows nothing of how the processes are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tfnode.process.channel import Channel, Word

T = TypeVar("T")


def _nothing() -> None:
    """For a node that has nothing to sweep."""


class HostSide(Protocol):
    """What the launcher holds in the host's namespaces for one life of the agent: the uplink."""

    @property
    def sentence(self) -> str:
        """What it gives the agent, or why it gives nothing; handed on as `Life.uplink`."""

    def close(self) -> None:
        """Give it back: once, after the agent is gone. An error is logged and stops nothing."""


@dataclass(frozen=True)
class NoUplink:
    """The host's side of a node that talks to nobody outside."""

    sentence: str = "no uplink was asked for"

    def close(self) -> None:
        """Nothing is held."""


def _no_uplink(_agent_pid: int, _netns: int) -> HostSide:
    return NoUplink()


@dataclass(frozen=True)
class Life(Generic[T]):
    """One life of the agent, as its main function sees it."""

    number: int
    """1 for the first agent of this launcher, then counting."""

    incarnation: str
    """16 hexadecimal characters that no other life of any agent has."""

    prepared: T
    """What `before_netns` returned."""

    run: Path
    """A tmpfs (mode 0700) only this agent and what it starts can see; gone with it."""

    uplink: str
    """The launcher's sentence about the uplink."""

    channel: Channel
    """The line to the launcher; it must stay open as long as the agent lives."""

    def report_up(self) -> None:
        """Tell the launcher that the agent does its work: a failure from now on means a new life, not the node's end."""
        self.channel.send(Word.UP)


@dataclass(frozen=True, kw_only=True)
class Plan(Generic[T]):
    """A node: what its agent does, and what the launcher does for it in the host's namespaces."""

    agent_main: Callable[[Life[T]], None]
    """Runs in the agent, as pid 1, in its own pid, mount and network namespaces. Its return ends the node in good order
    (install a handler for SIGTERM: until then SIGTERM ends the agent at once). An exception before any life has reported
    up ends the node and is raised from `launcher.run`, a `TfError` as it is, another as Internal. Any other end, a kill
    among them, is followed by a new life."""

    before_netns: Callable[[], T]
    """Runs in the agent, in its own pid and mount namespaces but still in the host's network: threads and sockets made
    here keep the host's network for ever, so this is the place for the ZeroMQ context *and its first socket*."""

    root: Path
    """The node's directory on disk; one launcher at a time."""

    run: Path
    """Where the agent's private tmpfs is mounted; made if missing, an empty directory to everybody else."""

    after_netns: Callable[[int, int], HostSide] = _no_uplink
    """`after_netns(agent_pid, netns)` runs in the launcher once the agent is in its network namespace, whose descriptor is
    `netns` (closed afterwards) and whose process is `agent_pid` in the host's counting. The agent goes on when it returns;
    an error ends this life. Imports that only this needs belong inside: the agent is forked before it runs."""

    end_stragglers: Callable[[], None] = _nothing
    """Thaw and kill what is left in the node's cgroups. The kernel kills everything with the agent, except what a version
    1 freezer holds: that keeps the whole pid namespace from ending. Called in launcher or keeper; may be called again."""

    sweep: Callable[[], None] = _nothing
    """Remove what a dead agent leaves on disk: empty cgroups, upper directories. Called in launcher or keeper, before the
    first life and after each, when no process of an agent is left; must be repeatable."""

    stop_timeout: float = 10.0
    """Seconds the agent has after SIGTERM before it is killed."""
