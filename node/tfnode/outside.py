"""What an agent keeps of the host's network when it leaves it: ZeroMQ's threads, and an ordinary user's portal.

Made before the agent enters its own network namespace (`Plan.before_netns`). Imports little: the agent is forked from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zmq

    from tfnode.network.portal import Portal
    from tfnode.network.wayout import WayOut
    from tfnode.tunnels.relay import Relay

RESOLV_CONF = Path("/etc/resolv.conf")


@dataclass(frozen=True)
class Outside:
    """The ways out that need no link.

    Attributes:
        context: talks through the host's network.
        portal: opens sockets there; None if containers go out by an uplink, or not at all.
    """

    context: zmq.Context[zmq.Socket[bytes]]
    portal: Portal | None = None

    def way_out(self, relay: Relay) -> WayOut | None:
        """Where containers' connections go out; must be called in the router namespace, which is open.

        Raises:
            CommandFailed, HostLacks: the kernel refuses.
        """
        if self.portal is None:
            return None
        from tfnode.network.wayout import WayOut

        return WayOut(self.portal, relay.join, _servers(RESOLV_CONF.read_text()))

    def resolv_conf(self) -> bytes:
        """What containers have for /etc/resolv.conf."""
        from tfnode.containers.preboot import asking, name_servers
        from tfnode.network.rules import GATEWAY

        text = RESOLV_CONF.read_text()
        return name_servers(text) if self.portal is None else asking(str(GATEWAY), text)


def leave_behind(*, portal: bool) -> Outside:
    """Start the threads; in the host's network namespace."""
    import zmq

    # ZeroMQ's threads start with a context's first socket and keep the network of that moment: the host's.
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.socket(zmq.PAIR).close(linger=0)
    if not portal:
        return Outside(context)
    from tfnode.network.portal import Portal

    return Outside(context, Portal())


def _servers(resolv_conf: str) -> list[str]:
    lines = (line.split() for line in resolv_conf.splitlines())
    return [words[1].partition("%")[0] for words in lines if len(words) >= 2 and words[0] == "nameserver"]
