"""The real network: layer 3 only, one veth pair and one /32 route per generation, no bridge, no ARP.

Keeps who is attached and who may talk to whom; `router` and `sandbox` do the two halves of the work. Works in
whichever network namespace it is given.
"""

from __future__ import annotations

import itertools
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address

from tfcore.errors import BadRequest, Exhausted, NotFound, WrongState
from tfcore.undo import Undo
from tfnode.kernel.namespaces import current_netns
from tfnode.network.interface import Attachment
from tfnode.network.refusals import refusals_of
from tfnode.network.router import MAC, Router
from tfnode.network.rules import ALIASES, GATEWAY
from tfnode.network.sandbox import SandboxNetwork
from tfnode.network.sockdiag import SockDiag

Pair = frozenset[IPv4Address]

FIRST_TABLE = 1 << 16
"""The first routing table of those that are united; each company has one of its own."""


@dataclass(frozen=True)
class _Member:
    attachment: Attachment
    inside: SandboxNetwork

    @property
    def connections(self) -> SockDiag:
        return self.inside.connections


class LinuxNetwork:
    """The `Network` of one router namespace. Safe to share between threads."""

    def __init__(self, netns: int | None = None) -> None:
        """`netns` is the router namespace, by default that of the thread that calls `open`; the descriptor stays the
        caller's and may be closed once the network is open.
        """
        self._given = netns
        self._router: Router | None = None
        self._members: dict[Attachment, _Member] = {}
        self._reached: dict[IPv4Address, Attachment] = {}
        self._reserved: set[IPv4Address] = set()
        self._pairs: set[Pair] = set()
        # Never used twice: a namespace that dies takes its links along some time later, and their names until then.
        self._numbers = itertools.count(1)
        self._aliases = itertools.cycle(ALIASES)
        self._companies: dict[int, tuple[Attachment, ...]] = {}
        self._tables = itertools.count(FIRST_TABLE)
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
            attachment = Attachment(address, f"c{next(self._numbers)}")
            member = self._join(router, netns, attachment, undo)
            member.inside.ready()
            router.route(address, attachment.link)
            with self._lock:
                self._members[attachment] = member
                self._reached[address] = attachment
                self._reserved.discard(address)
            undo.done()
        return attachment

    def attach_beside(self, netns: int, address: IPv4Address) -> Attachment:
        """See `Network.attach_beside`."""
        router = self._opened()
        with Undo() as undo, refusals_of(f"attach {address} once more"):
            alias = self._claim_alias(address)
            undo.push(self._reserved.discard, alias)
            attachment = Attachment(address, f"c{next(self._numbers)}", alias)
            member = self._join(router, netns, attachment, undo)
            router.know(alias, attachment.link, address)
            router.route(alias, attachment.link)
            with self._lock:
                self._members[attachment] = member
                undo.push(self._members.pop, attachment)
            undo.push(self._forbid_all, router, alias)
            with self._lock:
                for partner in self._partners(address):
                    self._permit(router, alias, partner)
                self._reserved.discard(alias)
            undo.done()
        return attachment

    def unite(self, *attachments: Attachment) -> None:
        """See `Network.unite`."""
        router = self._opened()
        with self._lock, refusals_of(f"unite {_names(attachments)}"):
            for attachment in attachments:
                self._member(attachment)
                self._check_beside(attachment)
            self._unite(router, attachments)

    def _unite(self, router: Router, attachments: tuple[Attachment, ...]) -> None:
        table = next(self._tables)
        router.unite(table, _ways(attachments))
        self._companies[table] = attachments

    def switch(self, *attachments: Attachment) -> None:
        """See `Network.switch`."""
        router = self._opened()
        with self._lock, refusals_of(f"switch {_names(attachments)}"), Undo() as undo:
            members = [self._member(attachment) for attachment in attachments]
            new = [one for one in members if self._reached.get(one.attachment.address) != one.attachment]
            self._keep_together(router, new, undo)
            for member in new:
                self._lead_to(router, member, undo)
            for member in new:
                member.inside.speak_from()
                undo.push(member.inside.speak_from, member.attachment.alias)
            undo.done()
            self._reached.update({member.attachment.address: member.attachment for member in new})
            for member in new:  # from now on everybody goes where they went
                self._part(router, member.attachment)

    def _keep_together(self, router: Router, new: list[_Member], undo: Undo) -> None:
        """What the former ones still say to each other, as the resets of their connections, stays among them."""
        former = tuple(self._reached[one.attachment.address] for one in new if one.attachment.address in self._reached)
        if len(former) > 1:
            self._unite(router, former)
            undo.push(self._part, router, former[0])

    def _lead_to(self, router: Router, member: _Member, undo: Undo) -> None:
        address = member.attachment.address
        router.route(address, member.attachment.link)
        if address in self._reached:
            undo.push(router.route, address, self._reached[address].link)

    def step_back(self, attachment: Attachment) -> None:
        """See `Network.step_back`."""
        with self._lock, refusals_of(f"step back from {attachment.address}"):
            member = self._member(attachment)
            self._check_beside(attachment)
            self._part(self._opened(), attachment)
            member.inside.speak_from(attachment.alias)

    def _check_beside(self, attachment: Attachment) -> None:
        if attachment.alias is None or self._reached.get(attachment.address) == attachment:
            raise WrongState(f"{attachment.address} is reached here, or was not attached beside another")

    def _part(self, router: Router, attachment: Attachment) -> None:
        """It is united with nobody any more, nor are those with each other that it was united with."""
        for table in [table for table, company in self._companies.items() if attachment in company]:
            router.part(table, _ways(self._companies.pop(table)))

    def allow(self, one: IPv4Address, other: IPv4Address) -> None:
        """See `Network.allow`."""
        if one == other:
            raise BadRequest(f"{one} needs no leave to talk to itself")
        router = self._opened()
        with self._lock:
            if not {one, other} & self._reached.keys():
                raise NotFound(f"neither {one} nor {other} is attached to this node")
            for pair in self._pairs_of(one, other):
                self._permit(router, *pair)

    def disallow(self, one: IPv4Address, other: IPv4Address) -> None:
        """See `Network.disallow`: the rule first, so that nothing new begins; then both ends, so that idle ones
        notice too.
        """
        router = self._opened()
        with self._lock, refusals_of(f"disallow {one} and {other}"):
            if frozenset((one, other)) not in self._pairs:
                return
            pairs = self._pairs_of(one, other)
            for pair in pairs:
                self._forbid(router, frozenset(pair))
            for member in self._members.values():
                for here, there in (*pairs, *(reversed(pair) for pair in pairs)):
                    if here in (member.attachment.address, member.attachment.alias):
                        member.connections.reset_with(there)

    def partners(self, address: IPv4Address) -> frozenset[IPv4Address]:
        """Whom `address` may talk to."""
        with self._lock:
            return frozenset(self._partners(address))

    def reset_connections(self, attachment: Attachment) -> int:
        """See `Network.reset_connections`."""
        with refusals_of(f"reset the connections of {attachment.address}"):
            return self._member(attachment).connections.reset_all()

    def detach(self, attachment: Attachment) -> None:
        """See `Network.detach`. Resets leave while the link is up, and an address is free only when nothing of it is
        left: should a step fail, nobody inherits it.
        """
        router = self._opened()
        with self._lock:
            member = self._members.pop(attachment, None)
            if member is None:
                return
            given_up = self._give_up(attachment)
            self._reserved.update(given_up)
        with refusals_of(f"detach {attachment.address}"), ExitStack() as steps:
            steps.callback(member.inside.close)
            steps.callback(router.delete_link, attachment.link)
            for source in _sources(attachment):
                steps.callback(router.accept_no_more, attachment.link, source)
            for address in given_up:
                steps.callback(self._forbid_all, router, address)
            steps.callback(self._part_locked, router, attachment)
            steps.callback(member.connections.reset_all)
        with self._lock:
            self._reserved.difference_update(given_up)

    def _part_locked(self, router: Router, attachment: Attachment) -> None:
        with self._lock:
            self._part(router, attachment)

    def _give_up(self, attachment: Attachment) -> tuple[IPv4Address, ...]:
        """The addresses that are nobody's once this is detached: its alias, and the address if it is reached there."""
        given_up = _sources(attachment)
        if self._reached.get(attachment.address) == attachment:
            del self._reached[attachment.address]
            return given_up
        return given_up[1:]

    def close(self) -> None:
        """See `Network.close`."""
        if self._router is None:
            return
        router, self._router = self._router, None
        with refusals_of("close the network"), ExitStack() as steps:
            steps.callback(self._pairs.clear)
            steps.callback(self._reserved.clear)
            steps.callback(self._companies.clear)
            steps.callback(router.close)
            steps.callback(self._reached.clear)
            while self._members:
                _, member = self._members.popitem()
                steps.callback(member.inside.close)
                steps.callback(member.connections.reset_all)

    def _opened(self) -> Router:
        if self._router is None:
            raise WrongState("the network is not open")
        return self._router

    def _member(self, attachment: Attachment) -> _Member:
        try:
            return self._members[attachment]
        except KeyError as missing:
            raise NotFound(f"{attachment.address} is not attached to this node") from missing

    def _claim(self, address: IPv4Address) -> None:
        with self._lock:
            if address in self._reserved or address in self._reached:
                raise WrongState(f"{address} is attached already", hint="detach it first")
            self._reserved.add(address)

    def _claim_alias(self, address: IPv4Address) -> IPv4Address:
        """One that nobody has; those of the dead come last, since others may still remember them."""
        with self._lock:
            if address not in self._reached:
                raise NotFound(f"{address} is not attached to this node")
            taken = self._reserved | {attachment.alias for attachment in self._members}
            for alias in itertools.islice(self._aliases, ALIASES.num_addresses):
                if alias not in taken:
                    self._reserved.add(alias)
                    return alias
        raise Exhausted(f"no address of {ALIASES} is left for another generation of {address}")

    def _join(self, router: Router, netns: int, attachment: Attachment, undo: Undo) -> _Member:
        """The address can be a source before it is a destination, and has its rules before its link carries anything."""
        address, link = attachment.address, attachment.link
        sandbox = SandboxNetwork(netns)
        undo.push(sandbox.close)
        for source in _sources(attachment):
            router.accept(link, source)
            undo.push(router.accept_no_more, link, source)
        router.add_link(link, netns, address)
        undo.push(router.delete_link, link)
        sandbox.connect(address, GATEWAY, MAC, alias=attachment.alias)
        return _Member(attachment, sandbox)

    def _aliases_of(self, address: IPv4Address) -> list[IPv4Address]:
        found = [one for one in self._members if one.address == address]
        return [one.alias for one in found if one.alias is not None]

    def _pairs_of(self, one: IPv4Address, other: IPv4Address) -> list[tuple[IPv4Address, IPv4Address]]:
        """The two, and each alias of one of them with the address of the other."""
        beside = [(alias, other) for alias in self._aliases_of(one)]
        return [(one, other), *beside, *((alias, one) for alias in self._aliases_of(other))]

    def _partners(self, address: IPv4Address) -> list[IPv4Address]:
        others = [other for pair in self._pairs if address in pair for other in pair if other != address]
        return [other for other in others if other not in ALIASES]

    def _permit(self, router: Router, one: IPv4Address, other: IPv4Address) -> None:
        if frozenset((one, other)) not in self._pairs:
            router.permit(one, other)
            self._pairs.add(frozenset((one, other)))

    def _forbid(self, router: Router, pair: Pair) -> None:
        router.forbid(*pair)
        self._pairs.discard(pair)

    def _forbid_all(self, router: Router, address: IPv4Address) -> None:
        with self._lock:
            for pair in [pair for pair in self._pairs if address in pair]:
                self._forbid(router, pair)


def _sources(attachment: Attachment) -> tuple[IPv4Address, ...]:
    """What it may speak from: its address, and its alias."""
    return (attachment.address,) if attachment.alias is None else (attachment.address, attachment.alias)


def _ways(attachments: tuple[Attachment, ...]) -> list[tuple[IPv4Address, str]]:
    return [(attachment.address, attachment.link) for attachment in attachments]


def _names(attachments: tuple[Attachment, ...]) -> str:
    return ", ".join(str(attachment.address) for attachment in attachments)
