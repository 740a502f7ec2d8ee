"""Containers for the fake location: an address of the loopback each, with the node's own tunnels, and nothing inside."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.sdk.fake_location import FakeLocation
from tfcore.errors import NotFound, Refused
from tfcore.ids import new_id
from tfcore.rpc.dispatcher import Call
from tfcore.wire import containers as wire
from tfcore.wire.images import FindImage, ImageFound, WireLayer
from tfcore.wire.message import Done
from tfcore.wire.sessions import NodeOffer
from tfnode.tunnels.carried import Carried
from tfnode.tunnels.handover import HandOver, Ticket
from tfnode.tunnels.relay import Relay

DIGEST = "sha256:" + "0" * 64
CONFIG = (
    b'{"rootfs": {"diff_ids": ["' + DIGEST.encode() + b'"]}, "config": {"ExposedPorts": {"53/udp": {}, "80/tcp": {}}}}'
)


class FakeNode:
    """One node of a fake location.

    Attributes:
        wishes: what was spawned, by container.
        relay, carried: as in the agent; for those that the location hands over, and the others.
    """

    def __init__(self, fake: FakeLocation, directory: Path, *, hands_over: bool) -> None:
        self.wishes: dict[str, wire.SpawnContainer] = {}
        self.relay = Relay()
        self.carried = Carried()
        self.desk = HandOver(directory / "tunnels", self.relay) if hands_over else None
        self._fake = fake
        fake.nodes = (NodeOffer(id=new_id("n"), name="one", cpu=1.0),)
        fake.handlers |= {
            FindImage: self._find,
            wire.SpawnContainer: self._spawn,
            wire.WaitReady: self._ready,
            wire.DestroyContainer: self._destroy,
            wire.OpenConnection: self._open,
            wire.HandOverTunnel: self._hand_over,
        }
        fake._portal.call(self._start())

    async def _start(self) -> None:
        if self.desk is not None:
            self.desk.open()

    async def _find(self, _call: Call, message: FindImage) -> ImageFound:
        layer = WireLayer(diff_id=DIGEST, digest=DIGEST, size=0)
        return ImageFound(name=message.name, config=CONFIG, layers=(layer,))

    async def _spawn(self, _call: Call, message: wire.SpawnContainer) -> wire.ContainerAccepted:
        container = message.again or new_id("c")
        self.wishes[container] = message
        return wire.ContainerAccepted(container=container, address="127.0.0.1")

    def _check(self, call: Call) -> None:
        if call.target not in self.wishes:
            raise NotFound(f"there is no container {call.target}")

    async def _ready(self, call: Call, _message: wire.WaitReady) -> wire.ContainerReady:
        self._check(call)
        return wire.ContainerReady(generation=1, seconds=0.1, notes=("a note",))

    async def _destroy(self, call: Call, _message: wire.DestroyContainer) -> Done:
        self._check(call)
        self.forget(call.target)
        return Done()

    async def _open(self, call: Call, message: wire.OpenConnection) -> Done:
        self._check(call)
        await self.carried.carry(call.stream, owner=call.target, address="127.0.0.1", port=message.port)
        return Done()

    async def _hand_over(self, call: Call, message: wire.HandOverTunnel) -> wire.HandedOver:
        self._check(call)
        if self.desk is None:
            raise Refused("this node serves clients of other machines")
        word = self.desk.issue(Ticket(owner=call.target, address="127.0.0.1", port=message.port))
        return wire.HandedOver(path=str(self.desk.path), ticket=word)

    def forget(self, container: str) -> None:
        """It has ended: its connections are reset, and nobody is let in."""
        del self.wishes[container]
        self.relay.reset(container)
        self.carried.reset(container)
        if self.desk is not None:
            self.desk.drop(container)

    def cut_connections(self) -> None:
        """As at a rollback."""
        self._fake._portal.call(self._cut())

    async def _cut(self) -> None:
        for container in self.wishes:
            self.relay.reset(container)
            self.carried.reset(container)

    def end(self, container: str) -> None:
        """Its main process has ended."""
        self._fake._portal.call(self._end(container))

    async def _end(self, container: str) -> None:
        self.forget(container)

    def die(self) -> None:
        """The agent is gone, and what it served with it."""
        self._fake._portal.call(self._close())
        self.relay.close()
        self.wishes.clear()

    async def _close(self) -> None:
        if self.desk is not None:
            await self.desk.close()

    def close(self) -> None:
        """The end, unless it died."""
        with contextlib.suppress(OSError, ValueError):
            self.die()
