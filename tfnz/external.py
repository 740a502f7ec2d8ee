"""A container of another session of the account, found by its tag (seed 002, External Containers)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfcore.errors import BadRequest, WrongState
from tfcore.wire import containers as wire
from tfcore.wire.sessions import ExternalOffer
from tfnz import arguments, callbacks
from tfnz.tagged import Taggable

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.location import Location
    from tfnz.node import Node


class ExternalContainer(Taggable):
    """Offered by the location; see `Location.external_container`, never made by hand.

    Its owner decides over its life; this session can only connect containers of its own with it.

    Attributes:
        ip: its address, reached by containers that were connected with it.
        termination_callback: called with (external, None), or (external) if it takes no more, when it is destroyed or its
            session ends.
    """

    def __init__(self, location: Location, offer: ExternalOffer) -> None:
        self.location = location
        self.uuid = offer.id
        self.tag = offer.tag
        self.ip = arguments.Address(offer.address)
        self._node = offer.node
        self._gone = threading.Event()
        self.termination_callback: Callable[..., object] | None = None

    @property
    def node(self) -> Node:
        """Where it runs."""
        return self.location.nodes[self._node]

    def private_ip(self) -> str:
        """Gen 2's name for `.ip`."""
        return str(self.ip)

    def allow_connection_from(self, container: Container) -> None:
        """Let a container of this session connect to it, and it to that one.

        Raises:
            BadRequest: that is no container. WrongState: this one is gone. (Both are `ValueError`s.)
        """
        self._check()
        self.location._call(wire.AllowConnection(source=self._own(container)), target=self.uuid)

    def disallow_connection_from(self, container: Container) -> None:
        """Take `allow_connection_from` back; live connections between the two are cut. Errors as there."""
        self._check()
        self.location._call(wire.DisallowConnection(source=self._own(container)), target=self.uuid)

    def _own(self, container: Container) -> str:
        uuid: str = getattr(container, "uuid", "")
        if self.location.containers.get(uuid) is not container:
            raise BadRequest(f"{container!r} is not a container of this session, or is destroyed")
        return uuid

    def _check(self) -> None:
        if self._gone.is_set():
            raise WrongState(f"external container {self.display_name()} is gone: it was destroyed or its session ended")

    def tell_end(self) -> None:
        """It is destroyed, or its session has ended (I/O thread)."""
        if not self._gone.is_set():
            self._gone.set()
            self.location._callbacks.post(callbacks.fitting(self.termination_callback, self, None))

    def __repr__(self) -> str:
        return f"<ExternalContainer {self.display_name()} {self.ip}>"
