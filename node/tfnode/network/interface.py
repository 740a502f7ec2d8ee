"""The seam between the node and the containers' network: six verbs, and five that a rollback needs.

*The story.* `open` prepares a **router** namespace: the node's own, in which everything that moves between containers
is forwarded. A sandbox is made (`tfnode.kernel.namespaces`) and **attached** under an address the location has
chosen; from then on its services answer there, for the node. Containers cannot reach each other, nor the node, nor
anything link-local; what they send elsewhere goes out by the router's uplink if there is one
(`tfnode.network.uplink`) and is refused if there is none. **Allow** lets two addresses talk, whichever of them
begins; **disallow** ends that and cuts what is open between them. A rollback keeps the sandbox, with its address and
its rules, and calls `reset_connections`, so that the old generation's clients notice at once. **Detach** takes an
attachment back, and the pairs of its address with it; **close** takes back everything.

*Generations.* What is attached is a network namespace, not a container. A generation that boots while another one serves
has a namespace of its own, attached **beside** the other under the same address: nobody reaches it yet, but what it
sends arrives, and is answered, because it opens its connections from an *alias*, an address of its own that is allowed
to do what the address is. Several that roll back as one are **united** before they boot: they reach each other under
their usual addresses, while everybody else reaches, and is reached by, the others. **Switch** makes it the one that is
reached (or all of them), in one step; from then on it speaks from the address itself, and what it opened before goes on.
Nothing here may assume that the router is the process's own namespace.

Plain synchronous calls from any thread. An address is an IPv4 address of the location's choosing; the network never
makes one up.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol


@dataclass(frozen=True)
class Attachment:
    """A namespace that is part of the network.

    Attributes:
        address: where it is reached.
        link: the name of the router's end of its link; empty where the network has no links.
        alias: the source of what it opens while another namespace is reached under its address.
    """

    address: IPv4Address
    link: str
    alias: IPv4Address | None = None


class Network(Protocol):
    """What every kind of network does; `tfnode.testing.network_suite` holds them to it."""

    def open(self) -> None:
        """Prepare the router namespace; must come first, once.

        Raises:
            HostLacks: the machine or its kernel lacks something; nothing was changed.
            CommandFailed: the kernel refused; what was done has been undone.
            WrongState: it is open already.
        """

    def attach(self, netns: int, address: IPv4Address) -> Attachment:
        """Make the namespace `netns` reachable under `address`, with its loopback up and its default route set.

        The descriptor stays the caller's and may be closed afterwards. Inside, ports below 1024 and ping need no
        privilege.

        Raises:
            WrongState: `address` is attached already, or the network is not open.
            CommandFailed: the kernel refused; what was done has been undone.
        """

    def attach_beside(self, netns: int, address: IPv4Address) -> Attachment:
        """As `attach`, while another namespace is reached under `address`, which may talk to the same others.

        Raises:
            NotFound: nothing is attached under `address`.
            CommandFailed: the kernel refused, or no alias is left; what was done has been undone.
        """

    def unite(self, *attachments: Attachment) -> None:
        """Let these, each attached beside another one, be one generation: what one of them sends to another one's address
        goes to that one, until they are switched to or one of them steps back or is detached. Whether they may talk is
        `allow`'s business. What they opened to each other goes on after the switch.

        Raises:
            NotFound: one is not attached.
            WrongState: one is reached, or has no alias.
            CommandFailed: the kernel refused; nothing was changed.
        """

    def switch(self, *attachments: Attachment) -> None:
        """From now on these are the namespaces that are reached under their addresses, and speak from them; having been so
        before is no error. Connections to the former ones stay until `reset_connections`; what several former ones still say
        to each other stays among them.

        Raises:
            NotFound: one is not attached.
            CommandFailed: the kernel refused; the former ones are still reached.
        """

    def step_back(self, attachment: Attachment) -> None:
        """Another one was switched to: what this one opens comes from its alias again, as after `attach_beside`.

        Raises:
            NotFound: not attached.
            WrongState: it is the one that is reached, or it has no alias.
            CommandFailed: the kernel refused; nothing was changed.
        """

    def allow(self, one: IPv4Address, other: IPv4Address) -> None:
        """Let two addresses open connections to each other; twice is once. One of them may be elsewhere.

        Raises:
            BadRequest: the two are the same.
            NotFound: neither is attached here.
            CommandFailed: the kernel refused; nothing was changed.
        """

    def disallow(self, one: IPv4Address, other: IPv4Address) -> None:
        """Take `allow` back in whichever order it was given, and end the connections between the two; not being
        allowed is no error.

        Raises:
            CommandFailed: the kernel refused.
        """

    def reset_connections(self, attachment: Attachment) -> int:
        """End every TCP connection of the namespace, its own loopback's included: peers get a reset at once, idle
        ones too.

        Works on frozen processes and on what dead ones left. Listening sockets stay. Returns how many were ended.

        Raises:
            NotFound: not attached.
            CommandFailed: the kernel refused.
        """

    def detach(self, attachment: Attachment) -> None:
        """End its connections and remove its link, routes, neighbours and rules; a second time is no error.

        Raises:
            CommandFailed: the kernel refused a step; the others were still taken, and the address cannot be attached
                again before the network is opened anew.
        """

    def close(self) -> None:
        """Detach everything and leave the router namespace as it was found; a second time is no error.

        Raises:
            CommandFailed: the kernel refused a step; the others were still taken.
        """
