"""The containers of this node, by id, and what is left on disk of those an earlier agent ran."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tfcore.errors import NotFound
from tfnode.containers.container import Container
from tfnode.containers.life import Moment
from tfnode.storage.interface import Info

_ROOT = re.compile(r"\A(?P<container>c-\w{22})\.(?P<how>[sz])\.(?P<name>[\w-]+)\Z")
_VOLUME = re.compile(r"\A(?P<volume>v-\w{22})\.c\.(?P<container>\w{22})\.(?P<name>[\w-]+)\Z")


class Table:
    """Who is here."""

    def __init__(self) -> None:
        self._containers: dict[str, Container] = {}

    def add(self, container: Container) -> None:
        """A container has been taken on."""
        self._containers[container.id] = container

    def remove(self, identifier: str) -> None:
        """A container is gone."""
        self._containers.pop(identifier, None)

    def get(self, identifier: str, *, session: str, visitor: str = "") -> Container:
        """The container of this id, if it is the session's.

        Args:
            visitor: an account whose other sessions' containers will do, too.

        Raises:
            NotFound: otherwise; whose it is is not told.
        """
        container = self._containers.get(identifier)
        if container is None or (container.birth.boot.session != session and container.birth.boot.account != visitor):
            raise NotFound(f"there is no container {identifier} on this node")
        return container

    def find(self, identifier: str) -> Container | None:
        """The container of this id, for the location's own purposes."""
        return self._containers.get(identifier)

    def of_session(self, session: str) -> list[Container]:
        """All containers of a session."""
        return [c for c in self._containers.values() if c.birth.boot.session == session]

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._containers.values()))

    def __len__(self) -> int:
        return len(self._containers)


def moments_on_disk(infos: Iterable[Info]) -> dict[str, dict[str, Moment]]:
    """The snapshots of containers that are on the disk, by container and name, oldest first."""
    found: dict[str, dict[str, Moment]] = {}
    volumes: dict[tuple[str, str], dict[str, str]] = {}
    for info in infos:
        volume = _VOLUME.match(info.label)
        root = _ROOT.match(info.label)
        if volume:
            volumes.setdefault((volume["container"], volume["name"]), {})[volume["volume"]] = info.label
        elif root:
            moment = Moment(root["name"], info.label, asleep=root["how"] == "z")
            found.setdefault(root["container"], {})[root["name"]] = moment
    return {
        container: {
            name: replace(moment, volumes=volumes.get((container[2:], name), {})) for name, moment in moments.items()
        }
        for container, moments in found.items()
    }
