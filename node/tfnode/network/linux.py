"""The real network: layer 3 only, one veth pair and one /32 route per container, no bridge, no ARP.

Keeps who is attached and who may talk to whom; `router` and `sandbox` do the two halves of the work. Works in
whichever network namespace it is given, so the same class is the node's network and that of a group's generation.
"""

from __future__ import annotations

import itertools
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address

from tfcore.errors import BadRequest, NotFound, WrongState
from tfcore.undo import Undo
from tfnode.kernel.namespaces import current_netns
from tfnode.network.interface import Attachment
from tfnode.network.refusals import refusals_of
from tfnode.network.router import MAC, Router
from tfnode.network.rules import GATEWAY
from tfnode.network.sandbox import SandboxNetwork
from tfnode.network.sockdiag import SockDiag

Pair = frozenset[IPv4Address]


@dataclass(frozen=True)
class _Member:
    attachment: Attachment
    connections: SockDiag


class LinuxNetwork:
    """The `Network` of one router namespace. Safe to share between threads."""

    def __init__(self, netns: int | None = None) -> None:
        """`netns` is the router namespace, by default that of the thread that calls `open`; the descriptor stays the
        caller's and may be closed once the network is open.
        """
        self._given = netns
        self._router: Router | None = None
        self._members: dict[IPv4Address, _Member] = {}
        self._reserved: set[IPv4Address] = set()
        self._pairs: set[Pair] = set()
        # Never used twice: a namespace that dies takes its links along some time later, and their names until then.
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def open(self) -> None:
        """See `Network.open`."""
        if self._router is not None:
            raise WrongState("the network is open already")
        netns = current_netns() if self._given is None else os.dup(self._given)
        with refusals_of("prepare the router namespace"):
            self._router = Router(netns)

    def attach(self, netns: int, address: IPv4Address) -> Attachment:
        """See `Network.attach`."""
        router = self._opened()
        with Undo() as undo, refusals_of(f"attach {address}"):
            self._claim(address)
            undo.push(self._reserved.discard, address)
            member = self._join(router, netns, address, undo)
            with self._lock:
                self._members[address] = member
                self._reserved.discard(address)
            undo.done()
        return member.attachment

    def allow(self, one: IPv4Address, other: IPv4Address) -> None:
        """See `Network.allow`."""
        if one == other:
            raise BadRequest(f"{one} needs no leave to talk to itself")
        router = self._opened()
        with self._lock:
            if not {one, other} & self._members.keys():
                raise NotFound(f"neither {one} nor {other} is attached to this node")
            if frozenset((one, other)) not in self._pairs:
                router.permit(one, other)
                self._pairs.add(frozenset((one, other)))

    def disallow(self, one: IPv4Address, other: IPv4Address) -> None:
        """See `Network.disallow`: the rule first, so that nothing new begins; then both ends, so that idle ones
        notice too.
        """
        router = self._opened()
        with self._lock, refusals_of(f"disallow {one} and {other}"):
            if frozenset((one, other)) not in self._pairs:
                return
            self._forbid(router, frozenset((one, other)))
            for here, there in ((one, other), (other, one)):
                if here in self._members:
                    self._members[here].connections.reset_with(there)

    def reset_connections(self, attachment: Attachment) -> int:
        """See `Network.reset_connections`."""
        member = self._members.get(attachment.address)
        if member is None or member.attachment != attachment:
            raise NotFound(f"{attachment.address} is not attached to this node")
        with refusals_of(f"reset the connections of {attachment.address}"):
            return member.connections.reset_all()

    def detach(self, attachment: Attachment) -> None:
        """See `Network.detach`. Resets leave while the link is up, and the address is free only when nothing of it is
        left: should a step fail, nobody inherits it.
        """
        router = self._opened()
        address = attachment.address
        with self._lock:
            member = self._members.get(address)
            if member is None or member.attachment != attachment:
                return
            del self._members[address]
            self._reserved.add(address)
        with refusals_of(f"detach {address}"), ExitStack() as steps:
            steps.callback(member.connections.close)
            steps.callback(router.delete_link, attachment.link)
            steps.callback(router.accept_no_more, attachment.link, address)
            steps.callback(self._forbid_all, router, address)
            steps.callback(member.connections.reset_all)
        with self._lock:
            self._reserved.discard(address)

    def close(self) -> None:
        """See `Network.close`."""
        if self._router is None:
            return
        router, self._router = self._router, None
        with refusals_of("close the network"), ExitStack() as steps:
            steps.callback(self._pairs.clear)
            steps.callback(self._reserved.clear)
            steps.callback(router.close)
            while self._members:
                _, member = self._members.popitem()
                steps.callback(member.connections.close)
                steps.callback(member.connections.reset_all)

    def _opened(self) -> Router:
        if self._router is None:
            raise WrongState("the network is not open")
        return self._router

    def _claim(self, address: IPv4Address) -> None:
        with self._lock:
            if address in self._reserved or address in self._members:
                raise WrongState(f"{address} is attached already", hint="detach it first")
            self._reserved.add(address)

    def _join(self, router: Router, netns: int, address: IPv4Address, undo: Undo) -> _Member:
        """The address can be a source before it is a destination, and has its rules before its link carries anything."""
        link = f"c{next(self._numbers)}"
        sandbox = SandboxNetwork(netns)
        undo.push(sandbox.close)
        router.accept(link, address)
        undo.push(router.accept_no_more, link, address)
        router.add_link(link, netns, address)
        undo.push(router.delete_link, link)
        sandbox.connect(address, GATEWAY, MAC)
        router.route(address, link)
        return _Member(Attachment(address, link), sandbox.ready())

    def _forbid(self, router: Router, pair: Pair) -> None:
        router.forbid(*pair)
        self._pairs.discard(pair)

    def _forbid_all(self, router: Router, address: IPv4Address) -> None:
        with self._lock:
            for pair in [pair for pair in self._pairs if address in pair]:
                self._forbid(router, pair)
