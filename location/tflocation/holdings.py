"""Containers and volumes: whose they are and where. In memory for the broker, in the store for the next start.

Every change is written before it shows. Knows no messages and no sockets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tfcore.errors import NotFound
from tflocation.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as the location knows it, from spawn until it is destroyed or its session ends.

    Attributes:
        session, account: whose it is.
        node: id of where it runs.
        address: its IPv4 address.
        image: name, for people.
        volumes: ids of what it mounts.
        request: id of the request that spawned it.
        kept: id of the kept snapshot it was spawned from; "" for one from an image.
        memory, cpus: bytes and cores it was given as its limits; 0 for none.
    """

    id: str
    session: str
    account: str
    node: str
    address: str
    image: str
    tag: str = ""
    volumes: tuple[str, ...] = ()
    request: str = ""
    created: float = field(default_factory=time.time)
    kept: str = ""
    memory: int = 0
    cpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume as the location knows it. A persistent one belongs to its account, another to its session."""

    id: str
    session: str
    account: str
    node: str
    tag: str = ""
    persistent: bool = False
    request: str = ""
    created: float = field(default_factory=time.time)


class Holdings:
    """All containers and volumes of a location, and which containers may talk to each other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.containers: dict[str, Container] = {row.id: row for row in _stored_containers(database)}
        self.volumes: dict[str, Volume] = {row.id: row for row in _stored_volumes(database)}
        self.ended: set[str] = set()
        """Containers whose node has them no more, as their owners have been told; they may be booted again."""

    # whose

    def container(self, identifier: str, *, session: str, visitor: str = "") -> Container:
        """A container of this session.

        Args:
            visitor: an account whose other sessions' containers will do, too.

        Raises:
            NotFound: there is none, or it is somebody else's: both read the same.
        """
        found = self.containers.get(identifier)
        if found is None or (found.session != session and found.account != visitor):
            raise NotFound(f"there is no container {identifier} in this session", details={"container": identifier})
        return found

    def visible_container(self, identifier: str, *, session: str, account: str) -> Container:
        """A container of this session, or one with a tag of another session of the account.

        Raises:
            NotFound: there is none, or it is somebody else's: both read the same.
        """
        found = self.containers.get(identifier)
        if found is not None and found.account == account and found.tag:
            return found
        return self.container(identifier, session=session)

    def externals_for(self, *, session: str, account: str) -> list[Container]:
        """The containers with a tag of the account's other sessions."""
        return [c for c in self.containers.values() if c.tag and c.account == account and c.session != session]

    def tagged(self, tag: str, *, account: str) -> Container | None:
        """The account's container of this tag."""
        return next((c for c in self.containers.values() if tag and (c.tag, c.account) == (tag, account)), None)

    def volume(self, identifier: str, *, session: str, account: str) -> Volume:
        """A volume this session may use: its own, or a persistent one of its account.

        Raises:
            NotFound: there is none, or it is somebody else's: both read the same.
        """
        found = self.volumes.get(identifier)
        if found is None or not _may_use(found, session, account):
            raise NotFound(f"there is no volume {identifier} for this account", details={"volume": identifier})
        return found

    def volumes_for(self, *, session: str, account: str) -> list[Volume]:
        """The volumes this session may use."""
        return [volume for volume in self.volumes.values() if _may_use(volume, session, account)]

    def containers_of(self, session: str, *, node: str = "") -> list[Container]:
        """The containers of a session, on one node or all."""
        return [c for c in self.containers.values() if c.session == session and node in ("", c.node)]

    def containers_on(self, node: str) -> list[Container]:
        """The containers on a node."""
        return [container for container in self.containers.values() if container.node == node]

    def volumes_on(self, node: str) -> list[Volume]:
        """The volumes on a node."""
        return [volume for volume in self.volumes.values() if volume.node == node]

    def mounted_by(self, volume: str) -> list[Container]:
        """The containers that mount a volume."""
        return [container for container in self.containers.values() if volume in container.volumes]

    def nodes(self) -> set[str]:
        """Where there is anything."""
        return {c.node for c in self.containers.values()} | {v.node for v in self.volumes.values()}

    def nodes_of(self, session: str) -> set[str]:
        """Where a session has anything that ends with it."""
        mortal = {v.node for v in self.volumes.values() if v.session == session and not v.persistent}
        return mortal | {container.node for container in self.containers_of(session)}

    # changes

    def add_container(self, container: Container) -> None:
        """Take note of a container that is about to be made."""
        self._database.execute(
            "INSERT INTO container VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                container.id, container.session, container.account, container.node, container.address,
                container.image, container.tag, " ".join(container.volumes), container.request, container.created,
                container.kept, container.memory, container.cpus,
            ),
        )  # fmt: skip
        self.containers[container.id] = container

    def resize(self, container: Container, *, memory: int, cpus: float) -> None:
        """It is about to be booted with other limits."""
        self._database.execute("UPDATE container SET memory=?, cpus=? WHERE id=?", (memory, cpus, container.id))
        self.containers[container.id] = replace(container, memory=memory, cpus=cpus)

    def drop_container(self, identifier: str) -> None:
        """Forget a container that is gone."""
        self._database.execute("DELETE FROM container WHERE id=?", (identifier,))
        self.containers.pop(identifier, None)
        self.ended.discard(identifier)

    def untag(self, session: str) -> list[Container]:
        """The session has ended: nobody finds its containers by their tags any more; returns those that had one."""
        tagged = [container for container in self.containers_of(session) if container.tag]
        if tagged:
            self._database.execute("UPDATE container SET tag='' WHERE session=?", (session,))
        for container in tagged:
            self.containers[container.id] = replace(container, tag="")
        return tagged

    def add_volume(self, volume: Volume) -> None:
        """Take note of a volume that is about to be made."""
        self._database.execute(
            "INSERT INTO volume VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                volume.id, volume.session, volume.account, volume.node,
                volume.tag, volume.persistent, volume.request, volume.created,
            ),
        )  # fmt: skip
        self.volumes[volume.id] = volume

    def drop_volume(self, identifier: str) -> None:
        """Forget a volume that is gone."""
        self._database.execute("DELETE FROM volume WHERE id=?", (identifier,))
        self.volumes.pop(identifier, None)

    def drop_mortal(self, session: str, node: str) -> list[Container]:
        """Forget what a session had on a node, persistent volumes excepted; returns the containers."""
        with self._database.transaction():
            self._database.execute("DELETE FROM container WHERE session=? AND node=?", (session, node))
            self._database.execute("DELETE FROM volume WHERE session=? AND node=? AND NOT persistent", (session, node))
        gone = self.containers_of(session, node=node)
        for container in gone:
            del self.containers[container.id]
            self.ended.discard(container.id)
        for volume in self.volumes_on(node):
            if volume.session == session and not volume.persistent:
                del self.volumes[volume.id]
        return gone

    # who may talk to whom

    def permit(self, one: Container, other: Container) -> None:
        """The two may connect to each other."""
        self._database.execute("INSERT OR IGNORE INTO permission VALUES (?, ?)", sorted((one.id, other.id)))

    def forbid(self, one: Container, other: Container) -> None:
        """They may not any more."""
        self._database.execute("DELETE FROM permission WHERE one=? AND other=?", sorted((one.id, other.id)))

    def permitted(self, container: Container) -> list[Container]:
        """Who may talk to this container."""
        rows = self._database.execute(
            "SELECT other FROM permission WHERE one=?1 UNION SELECT one FROM permission WHERE other=?1", (container.id,)
        )
        return [self.containers[identifier] for (identifier,) in rows if identifier in self.containers]


def _may_use(volume: Volume, session: str, account: str) -> bool:
    return volume.account == account if volume.persistent else volume.session == session


def _stored_containers(database: Database) -> Iterator[Container]:
    rows = database.execute(
        "SELECT id, session, account, node, address, image, tag, volumes, request, created, kept, memory, cpus"
        " FROM container"
    )
    for identifier, session, account, node, address, image, tag, volumes, request, created, kept, memory, cpus in rows:
        yield Container(
            id=identifier, session=session, account=account, node=node, address=address, image=image,
            tag=tag, volumes=tuple(volumes.split()), request=request, created=created, kept=kept,
            memory=memory, cpus=cpus,
        )  # fmt: skip


def _stored_volumes(database: Database) -> Iterator[Volume]:
    rows = database.execute("SELECT id, session, account, node, tag, persistent, request, created FROM volume")
    for identifier, session, account, node, tag, persistent, request, created in rows:
        yield Volume(
            id=identifier, session=session, account=account, node=node,
            tag=tag, persistent=bool(persistent), request=request, created=created,
        )  # fmt: skip
