"""A container's identity: the namespaces and the address that outlive its processes (DESIGN 1, Sandbox).

A generation that boots while another one serves has a sandbox of its own under the same address, which becomes the
container's when it is swapped in.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import Self

from tfcore.undo import Undo
from tfnode.images.shift import IdShift
from tfnode.kernel.namespaces import SandboxNamespaces, in_netns, make_sandbox_namespaces
from tfnode.network.interface import Attachment, Network

OWNER = 0
"""The user that a sandbox has from the start: whoever made it, then its container. Generations count from 1."""


Attach = Callable[[int, IPv4Address], Attachment]


class Sandbox:
    """Closed when its last user has left: its container, and every generation that joined it."""

    def __init__(self, network: Network, namespaces: SandboxNamespaces, attachment: Attachment) -> None:
        """See `alone` and `beside`."""
        self._network = network
        self._namespaces = namespaces
        self._attachment = attachment
        self._users = {OWNER}
        self._lock = threading.Lock()

    @classmethod
    def alone(cls, network: Network, address: str, ids: IdShift) -> Self:
        """Make the namespaces and attach them under `address`; nothing remains if that fails.

        Raises:
            HostLacks, CommandFailed, WrongState: as the network and the namespaces say.
        """
        return cls._make(network, network.attach, address, ids)

    @classmethod
    def beside(cls, network: Network, address: str, ids: IdShift) -> Self:
        """As `alone`, under an address that another sandbox has and keeps until `switch`.

        Raises:
            HostLacks, CommandFailed, NotFound: as the network and the namespaces say.
        """
        return cls._make(network, network.attach_beside, address, ids)

    @classmethod
    def _make(cls, network: Network, attach: Attach, address: str, ids: IdShift) -> Self:
        with Undo() as undo:
            namespaces = make_sandbox_namespaces(ids.uid_base, ids.gid_base, ids.count)
            undo.push(namespaces.close)
            made = cls(network, namespaces, attach(namespaces.net, IPv4Address(address)))
            undo.done()
        return made

    @property
    def user_namespace(self) -> str:
        """A path the runtime can join."""
        return f"/proc/{os.getpid()}/fd/{self._namespaces.user}"

    @property
    def network_namespace(self) -> str:
        """A path the runtime can join."""
        return f"/proc/{os.getpid()}/fd/{self._namespaces.net}"

    def tcp_socket(self) -> socket.socket:
        """A socket inside, that does not block: what is asked through it is asked as by a process of the container.

        Raises:
            OSError: there are no more descriptors.
        """
        return self._socket(socket.SOCK_STREAM)

    def udp_socket(self) -> socket.socket:
        """Likewise, for datagrams."""
        return self._socket(socket.SOCK_DGRAM)

    def _socket(self, kind: socket.SocketKind) -> socket.socket:
        made = in_netns(self._namespaces.net, lambda: socket.socket(socket.AF_INET, kind))
        made.setblocking(False)
        return made

    @property
    def can_step_back(self) -> bool:
        """True if it was made beside another one."""
        return self._attachment.alias is not None

    def step_back(self) -> None:
        """Another sandbox is reached under its address now: be as it was when it was made `beside`.

        Raises:
            CommandFailed: the kernel refused. WrongState: it is the one that is reached, or was not made so.
        """
        self.reset_connections()
        self._network.step_back(self._attachment)

    def reset_connections(self) -> int:
        """Every TCP connection of the sandbox gets a reset, idle ones too; returns how many there were."""
        return self._network.reset_connections(self._attachment)

    @property
    def is_free(self) -> bool:
        """True if no generation is in it."""
        with self._lock:
            return self._users == {OWNER}

    def join(self, user: int) -> None:
        """Somebody needs it until `leave`."""
        with self._lock:
            self._users.add(user)

    def leave(self, user: int) -> None:
        """Somebody needs it no more; after the last one address, link and namespaces are given back. Leaving twice is
        no error.

        Raises:
            CommandFailed: the kernel refused a step; the others were still taken.
        """
        with self._lock:
            closing = self._users == {user}
            self._users.discard(user)
        if closing:
            self._close()

    def _close(self) -> None:
        try:
            self._network.detach(self._attachment)
        finally:
            self._namespaces.close()


def unite(sandboxes: Sequence[Sandbox]) -> None:
    """Have sandboxes of one network, each made beside another one, reach each other under their addresses.

    Raises:
        CommandFailed: the kernel refused. WrongState: one is reached, or was not made so.
    """
    sandboxes[0]._network.unite(*(sandbox._attachment for sandbox in sandboxes))


def switch(sandboxes: Sequence[Sandbox]) -> None:
    """From now on these, of one network, are the sandboxes that are reached under their addresses. CommandFailed if the
    kernel refuses; then the former ones are."""
    sandboxes[0]._network.switch(*(sandbox._attachment for sandbox in sandboxes))
