"""The way out of a node that has no uplink: what containers send to the world outside is taken in and dialled again.

TCP to an address that the router namespace knows no way to is led to a socket of the node; where the connection was going
is looked up, a connection to there opened in the host's network (`portal`), and the two are joined in the kernel. The node
itself is the containers' name server and asks the host's. Everything else (UDP, ICMP) has no way out, and is told so at
once. A destination that refuses shows as a connection that is reset when it has just been made. Knows nothing of who may
reach what: the router's rules come first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, cast

from tfnode.network.nftables import Nftables
from tfnode.network.portal import Portal
from tfnode.network.rules import CONTAINER_GROUP, GATEWAY, LINK_LOCAL
from tfnode.network.ruleset import Chain, Hook, Table

log = logging.getLogger(__name__)

SENTENCE = (
    "Outgoing connections are opened by the node with this user's rights: TCP and names (DNS) work, "
    "other UDP and ping do not; it takes root to forward packets."
)

DNS = 53
SO_ORIGINAL_DST = 80
"""linux/netfilter_ipv4.h"""

PATIENCE = 5.0
"""Seconds a name server has for an answer; whoever asked asks again by themselves."""

MOST_QUERIES = 256
"""Questions at the same time; more are not heard."""

MOST_SERVERS = 3
"""As resolv.conf(5) has it."""

Dial = Callable[[socket.socket], socket.socket]
"""Takes the connection that was accepted; a socket on its way to where it shall go."""

Serve = Callable[[socket.socket, Dial], object]
"""Takes a listening socket over: every connection is joined with the one that is dialled for it."""


def redirection(*, port: int, questions: int, names: int) -> Table:
    """The rules that lead what containers send beyond the node, and their questions for names, to the node's own ports.

    Args:
        port: for TCP connections to anywhere.
        questions: the UDP port for questions for names, whomever they were for.
        names: the TCP port for such as are for the node.
    """
    outwards = f"iifgroup {CONTAINER_GROUP} ip daddr != {LINK_LOCAL} fib daddr type unicast fib daddr oif missing"
    to_node = f"iifgroup {CONTAINER_GROUP} ip daddr {GATEWAY}"
    rules = (
        f"{to_node} udp dport {DNS} dnat ip to {GATEWAY}:{questions}",
        f"{to_node} tcp dport {DNS} dnat ip to {GATEWAY}:{names}",
        f"{outwards} udp dport {DNS} dnat ip to {GATEWAY}:{questions}",
        f"{outwards} meta l4proto tcp dnat ip to {GATEWAY}:{port}",
    )
    chain = Chain("leaving", rules, Hook("nat", "prerouting", "dstnat"))
    return Table(family="inet", name="tf_out", chains=(chain,))


class WayOut:
    """Open from `open` to `close`. Must be made in the router namespace, which is open already."""

    def __init__(self, portal: Portal, serve: Serve, servers: Iterable[str]) -> None:
        """
        Args:
            portal: opens sockets outside.
            serve: joins connections.
            servers: addresses of the host's name servers.
        """
        self._portal = portal
        self._servers = tuple(servers)[:MOST_SERVERS]
        self._names = Names(portal, self._servers)
        with contextlib.ExitStack() as made:
            tcp = made.enter_context(_listening())
            names = made.enter_context(_listening())
            self._questions = made.enter_context(_bound())
            self._rules = Nftables()
            made.callback(self._rules.close)
            self._table = redirection(port=_port(tcp), questions=_port(self._questions), names=_port(names))
            self._rules.run(self._table.load())
            made.pop_all()
        serve(tcp, self._dial)
        serve(names, self._dial_resolver)

    async def open(self) -> None:
        """Answer questions for names; in the event loop."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self._names, sock=self._questions)

    def close(self) -> None:
        """Lead nothing out any more; the connections are whoever's who serves them."""
        self._names.close()
        self._rules.run(self._table.delete())
        self._rules.close()

    def _dial(self, accepted: socket.socket) -> socket.socket:
        return self._portal.dial(*former_destination(accepted))

    def _dial_resolver(self, _accepted: socket.socket) -> socket.socket:
        if not self._servers:
            raise OSError("this machine has no name servers")
        return self._portal.dial_resolver(self._servers[0])


def former_destination(accepted: socket.socket) -> tuple[str, int]:
    """Where a connection was going before it was led here. OSError if it was not."""
    raw = accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    _, port, address = struct.unpack_from("!HH4s", raw)
    return socket.inet_ntoa(address), port


class Names(asyncio.DatagramProtocol):
    """Passes questions to the host's name servers, all of them at once, and the first answer back."""

    def __init__(self, portal: Portal, servers: tuple[str, ...]) -> None:
        self._portal = portal
        self._servers = servers
        self._asking: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """See asyncio."""
        if len(self._asking) < MOST_QUERIES:
            task = asyncio.get_running_loop().create_task(self._answer(data, addr))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _answer(self, question: bytes, whom: tuple[str | Any, int]) -> None:
        asked = [asyncio.ensure_future(self._ask(server, question)) for server in self._servers]
        try:
            async with asyncio.timeout(PATIENCE):
                for answer in asyncio.as_completed(asked):
                    with contextlib.suppress(OSError):
                        said = await answer
                        if self._transport is not None:
                            self._transport.sendto(said, whom)
                        return
        except TimeoutError:
            log.debug("no name server answered within %g s", PATIENCE)
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, server: str, question: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with self._portal.ask_resolver(server) as sock:
            await loop.sock_sendall(sock, question)
            return await loop.sock_recv(sock, 65_535)

    def close(self) -> None:
        """Give up what is being asked."""
        for task in self._asking:
            task.cancel()
        if self._transport is not None:
            self._transport.close()


def _listening() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.bind((str(GATEWAY), 0))
    made.listen(128)
    return made


def _bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    made.bind((str(GATEWAY), 0))
    return made


def _port(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port
