"""Containers that xdist's workers boot once for all: what a factory's container is when it is ready, before any fixture of
the suite has worked on it, is kept by whichever worker needed it first, and forked by the others.

What can be shared: containers of a factory wider than a test, without volumes and without connections to other containers;
their boot may have left something there. Two are the same if all that was wished of them is, on the same node. One that is
to be prepared (`baseline_cache.py`) is kept when that is done. Who builds is
the controller's to say (`arbiter.py`); a worker that cannot reach it boots its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfcore.errors import NotFound, TfError

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.node import Node

log = logging.getLogger(__name__)

LIFE = 3600.0
"""Seconds after which what was kept goes by itself, should the controller not be there to forget it. Whoever needs it later
builds it anew."""

PATIENCE = 60.0
"""Seconds beyond a container's own that keeping it may take."""


PREPARING = 1800.0
"""Seconds that preparing it may take."""


class NotYet(Exception):
    """Another worker is just building it."""


@dataclass(frozen=True)
class What:
    """A container to be built once for all.

    Attributes:
        name: its host name, the same for all.
        wishes: arguments of `Node.spawn_container`.
        prepared: identifies how it is to be prepared before it is shared; "" for not at all.
    """

    node: Node
    name: str
    wishes: Mapping[str, Any]
    prepared: str = ""

    @property
    def key(self) -> str:
        """The same for containers that are wished alike, on one node."""
        wishes = sorted((wish, repr(value)) for wish, value in self.wishes.items())
        said = (self.node.location.name, self.node.pk, self.name, self.prepared, wishes)
        return hashlib.sha256(repr(said).encode()).hexdigest()

    def spawn(self) -> Container:
        """One's own."""
        return self.node.spawn_container(hostname=self.name, **self.wishes)


class Sharing:
    """One worker's part in it.

    Args:
        path: the arbiter's socket; "" if there is none: nothing is shared.
        address: given for the location, so that the controller finds it, too.
        forked: is added the names of containers that were forked.
    """

    def __init__(self, path: str, address: str, forked: list[str]) -> None:
        self._path = path
        self._address = address
        self._forked = forked
        self._publishing: dict[str, threading.Thread] = {}
        self._prepared: dict[str, tuple[str, _Question]] = {}

    @property
    def wanted(self) -> bool:
        """True if there is somebody to ask."""
        return bool(self._path)

    def spawn(self, what: What, *, ahead: bool, timeout: float) -> tuple[Container, bool]:
        """A container as wished: built for all, or forked, or one's own; and whether it was forked.

        Args:
            ahead: nobody needs it yet.
            timeout: seconds it may take to be ready.

        Raises:
            NotYet: it is wanted ahead, and being built.
            TfError: as `Node.spawn_container`.
        """
        gone = ""
        patience = timeout + PATIENCE + (PREPARING if what.prepared else 0)
        while True:
            asked = _Question(self._path, what.key, gone=gone, wait=not ahead, timeout=patience)
            match asked.verdict:
                case "wait":
                    raise NotYet
                case "use":
                    try:
                        container = what.node.location.resume(asked.kept)
                    except NotFound as missing:  # it was evicted, or its time is over
                        log.info("%s is built anew: %s", what.name, missing)
                        gone = asked.kept
                        continue
                    self._forked.append(what.name)
                    return container, True
                case "build":
                    return self._build(what, asked, timeout), False
                case _:
                    return what.spawn(), False

    def _build(self, what: What, asked: _Question, timeout: float) -> Container:
        try:
            container = what.spawn()
        except BaseException:
            asked.tell("")
            raise
        if what.prepared:
            self._prepared[container.uuid] = (what.name, asked)
            return container
        work = (container, what.name, asked, timeout)
        thread = threading.Thread(target=self._publish, args=work, name=f"tf keeping {what.name}", daemon=True)
        self._publishing[container.uuid] = thread
        thread.start()
        return container

    def _publish(self, container: Container, name: str, asked: _Question, timeout: float) -> None:
        """When it is ready, before anybody works on it (`settle`), keep it for the others."""
        kept = ""
        try:
            container.wait_until_ready(timeout)
            kept = container.keep(seconds=LIFE, evictable=True, labels={"shared by workers": name}).id
        except TfError as error:
            log.info("%s is not shared: %s", name, error)
        finally:
            asked.tell(kept, location=container.location.name, address=self._address)

    def settle(self, container: Container, timeout: float) -> None:
        """Wait until a container is kept, if it is to be: from then on its state is one's own."""
        thread = self._publishing.pop(container.uuid, None)
        if thread is not None:
            thread.join(timeout + PATIENCE)

    def publish(self, container: Container, timeout: float) -> None:
        """A container is prepared: keep it for the others, if that is ours to do."""
        if container.uuid in self._prepared:
            self._publish(container, *self._prepared.pop(container.uuid), timeout)

    def abandon(self, container: Container) -> None:
        """It will not be prepared: each worker is to see for itself. No news if it has been published."""
        if container.uuid in self._prepared:
            _, asked = self._prepared.pop(container.uuid)
            asked.tell("")

    def close(self) -> None:
        """The location is left: what was not kept by now will not be."""
        for thread in self._publishing.values():
            thread.join(PATIENCE)
        self._publishing.clear()


class _Question:
    """One question to the arbiter.

    Attributes:
        verdict: `build`, `use`, `wait`, or `own`, also if there is no answer in time.
        kept: of `use`: the kept snapshot's id.
    """

    def __init__(self, path: str, key: str, *, gone: str, wait: bool, timeout: float) -> None:
        self.verdict, self.kept = "own", ""
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._say(key=key, gone=gone, wait=wait)
            with self._socket.makefile("rb") as answers:
                answer = json.loads(answers.readline())
            self.verdict, self.kept = answer["say"], answer.get("kept", "")
        except (OSError, ValueError) as error:
            log.info("nobody says who boots what, so each worker does: %s", error)
        if self.verdict != "build":
            self._hang_up()

    def tell(self, kept: str, **where: str) -> None:
        """What became of it: the kept snapshot's id, or "" if each is to make its own."""
        try:
            self._say(kept=kept, **where)
        except OSError as error:
            log.info("the controller does not listen any more: %s", error)
        self._hang_up()

    def _say(self, **words: Any) -> None:
        if self._socket is not None:
            self._socket.sendall(json.dumps(words).encode() + b"\n")

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
