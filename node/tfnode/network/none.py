"""No network: a sandbox has its loopback and nothing else. The reference for what holds on every network.

Needs no rules and no links, so there is nothing to allow; it keeps account of what it is asked so that mistakes show
here too.
"""

from __future__ import annotations

import itertools
import threading
from ipaddress import IPv4Address

from tfcore.errors import BadRequest, NotFound, WrongState
from tfnode.network.interface import Attachment
from tfnode.network.refusals import refusals_of
from tfnode.network.rules import FIRST_ALIAS
from tfnode.network.sandbox import SandboxNetwork
from tfnode.network.sockdiag import SockDiag


class NoNetwork:
    """A `Network` in which nobody reaches anybody."""

    def __init__(self) -> None:
        self._is_open = False
        self._members: dict[Attachment, SockDiag] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def open(self) -> None:
        """See `Network.open`."""
        if self._is_open:
            raise WrongState("the network is open already")
        self._is_open = True

    def attach(self, netns: int, address: IPv4Address) -> Attachment:
        """See `Network.attach`; the address is only a name here."""
        with self._lock, refusals_of(f"attach {address}"):
            self._check_open()
            if self._is_attached(address):
                raise WrongState(f"{address} is attached already", hint="detach it first")
            return self._join(netns, Attachment(address, link=""))

    def attach_beside(self, netns: int, address: IPv4Address) -> Attachment:
        """See `Network.attach_beside`."""
        with self._lock, refusals_of(f"attach {address}"):
            self._check_open()
            if not self._is_attached(address):
                raise NotFound(f"{address} is not attached to this node")
            return self._join(netns, Attachment(address, "", FIRST_ALIAS + next(self._numbers)))

    def unite(self, *attachments: Attachment) -> None:
        """See `Network.unite`; nobody reaches anybody."""
        for attachment in attachments:
            self._check_beside(attachment)

    def switch(self, *attachments: Attachment) -> None:
        """See `Network.switch`; nobody reaches either of the two."""
        for attachment in attachments:
            self._check_attached(attachment)

    def step_back(self, attachment: Attachment) -> None:
        """See `Network.step_back`."""
        self._check_beside(attachment)

    def _check_attached(self, attachment: Attachment) -> None:
        if attachment not in self._members:
            raise NotFound(f"{attachment.address} is not attached to this node")

    def _check_beside(self, attachment: Attachment) -> None:
        self._check_attached(attachment)
        if attachment.alias is None:
            raise WrongState(f"{attachment.address} was not attached beside another")

    def allow(self, one: IPv4Address, other: IPv4Address) -> None:
        """See `Network.allow`; there is nothing between the two."""
        self._check_open()
        if one == other:
            raise BadRequest(f"{one} needs no leave to talk to itself")
        if not any(map(self._is_attached, (one, other))):
            raise NotFound(f"neither {one} nor {other} is attached to this node")

    def disallow(self, one: IPv4Address, other: IPv4Address) -> None:  # noqa: ARG002 - nothing is ever allowed
        """See `Network.disallow`."""
        self._check_open()

    def reset_connections(self, attachment: Attachment) -> int:
        """See `Network.reset_connections`; only those of the loopback can exist."""
        connections = self._members.get(attachment)
        if connections is None:
            raise NotFound(f"{attachment.address} is not attached to this node")
        with refusals_of(f"reset the connections of {attachment.address}"):
            return connections.reset_all()

    def detach(self, attachment: Attachment) -> None:
        """See `Network.detach`."""
        self._check_open()
        with self._lock:
            connections = self._members.pop(attachment, None)
        if connections is not None:
            connections.close()

    def close(self) -> None:
        """See `Network.close`."""
        self._is_open = False
        with self._lock:
            while self._members:
                self._members.popitem()[1].close()

    def _join(self, netns: int, attachment: Attachment) -> Attachment:
        self._members[attachment] = SandboxNetwork(netns).ready()
        return attachment

    def _is_attached(self, address: IPv4Address) -> bool:
        return any(attachment.address == address for attachment in self._members)

    def _check_open(self) -> None:
        if not self._is_open:
            raise WrongState("the network is not open")
