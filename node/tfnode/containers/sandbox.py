"""A container's identity: the namespaces and the address that outlive its processes (DESIGN 1, Sandbox)."""

from __future__ import annotations

import os
from ipaddress import IPv4Address

from tfcore.undo import Undo
from tfnode.kernel.namespaces import SandboxNamespaces, make_sandbox_namespaces
from tfnode.network.interface import Attachment, Network

IDS = 65_536
"""User and group ids inside a container."""


class Sandbox:
    """Open from the container's first boot to its end; every generation joins it."""

    def __init__(self, network: Network, address: str, uid_base: int) -> None:
        """Make the namespaces and attach them under `address`; nothing remains if that fails.

        Raises:
            HostLacks, CommandFailed, WrongState: as the network and the namespaces say.
        """
        self._network = network
        with Undo() as undo:
            self._namespaces: SandboxNamespaces = make_sandbox_namespaces(uid_base, uid_base, IDS)
            undo.push(self._namespaces.close)
            self._attachment: Attachment = network.attach(self._namespaces.net, IPv4Address(address))
            undo.done()

    @property
    def user_namespace(self) -> str:
        """A path the runtime can join."""
        return f"/proc/{os.getpid()}/fd/{self._namespaces.user}"

    @property
    def network_namespace(self) -> str:
        """A path the runtime can join."""
        return f"/proc/{os.getpid()}/fd/{self._namespaces.net}"

    def reset_connections(self) -> int:
        """Every TCP connection of the sandbox gets a reset, idle ones too; returns how many there were."""
        return self._network.reset_connections(self._attachment)

    def close(self) -> None:
        """Give address, link and namespaces back."""
        try:
            self._network.detach(self._attachment)
        finally:
            self._namespaces.close()
