"""The location's address book: which container addresses of its network are in use. Pure; knows no node and no
firewall.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from tfcore.errors import BadRequest, Exhausted, NotFound, WrongState

DEFAULT_NETWORK = IPv4Network("10.117.0.0/16")
"""Private (RFC 1918) and rarely used; containers cannot reach a real network that overlaps with it."""
LONGEST_PREFIX = 29
"""A smaller network has no room for anybody."""


class AddressBook:
    """Hands out the addresses of one network, each as late after its last use as possible.

    A packet or a client that is still under way to a container that has gone then finds nobody instead of somebody
    else: addresses never used before go first, then those given back longest ago. The first and the last address of
    the network are never given out.
    """

    def __init__(self, network: IPv4Network = DEFAULT_NETWORK, *, taken: Iterable[IPv4Address] = ()) -> None:
        """`taken` are in use from the start, as a store remembers them.

        Raises:
            BadRequest: the network has no room, or one of `taken` is not of it.
            WrongState: one of `taken` is named twice.
        """
        if network.prefixlen > LONGEST_PREFIX:
            raise BadRequest(f"network {network} is too small: it needs at least a /{LONGEST_PREFIX}")
        self.network = network
        self._fresh = iter(network.hosts())
        self._given_back: dict[IPv4Address, None] = {}
        self._in_use: set[IPv4Address] = set()
        for address in taken:
            self.claim(address)

    def allocate(self) -> IPv4Address:
        """An address nobody uses; Exhausted if there is none."""
        address = next((fresh for fresh in self._fresh if not self._known(fresh)), None)
        if address is None:
            address = self._least_recently_used()
        self._in_use.add(address)
        return address

    def claim(self, address: IPv4Address) -> None:
        """Take note that `address` is in use: a restarted location learns it from its store, or from a node.

        Raises:
            BadRequest: it is not one this book gives out.
            WrongState: it is in use already.
        """
        if not self._is_ours(address):
            raise BadRequest(f"{address} is not a container's address in {self.network}")
        if address in self._in_use:
            raise WrongState(f"{address} is in use already")
        self._given_back.pop(address, None)
        self._in_use.add(address)

    def release(self, address: IPv4Address) -> None:
        """Give `address` back; NotFound if it is not in use."""
        if address not in self._in_use:
            raise NotFound(f"{address} is not in use")
        self._in_use.remove(address)
        self._given_back[address] = None

    def in_use(self) -> frozenset[IPv4Address]:
        """The addresses that are in use now."""
        return frozenset(self._in_use)

    def _least_recently_used(self) -> IPv4Address:
        if not self._given_back:
            raise Exhausted(
                f"no address left: all {len(self._in_use)} of {self.network} are in use",
                hint="destroy containers, or give the location a larger network",
            )
        address = next(iter(self._given_back))
        del self._given_back[address]
        return address

    def _known(self, address: IPv4Address) -> bool:
        return address in self._in_use or address in self._given_back

    def _is_ours(self, address: IPv4Address) -> bool:
        edges = (self.network.network_address, self.network.broadcast_address)
        return address in self.network and address not in edges
