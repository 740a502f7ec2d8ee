"""Prepared containers, kept at the location from one run to the next: what a suite prepares once is there the next time.

Found by the key of everything the state depends on (`preparation.py`), so that there is nothing to clear by hand. Knows
containers and kept snapshots; when fixtures are set up is `boot.py`'s business.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tf.figures import Figures
from pytest_tf.specs import ContainerSpec
from tfcore.errors import NotFound, TfError
from tfcore.undo import Undo

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.kept import Kept
    from tfnz.node import Node

log = logging.getLogger(__name__)

PREFIX = "baseline-"
DIGITS = 40
"""Of the key, in a kept snapshot's name."""

ELSEWHERE = ("hostname", "volumes")
"""Arguments of `spawn_container` that the prepared state does not depend on by value."""


@dataclass(frozen=True)
class Cached:
    """The place of one prepared container.

    Attributes:
        name: of the kept snapshot; "" for a container whose preparation concerns others as well, or that has none.
        kept: what is there, to be booted from; None if there is nothing yet.
        prepared: the container was booted from such a state.
    """

    name: str = ""
    kept: Kept | None = None
    prepared: bool = False


NOWHERE = Cached()


class BaselineCache:
    """The prepared containers of one run.

    Args:
        mode: "on", "rebuild" (prepare again, and keep that instead) or "off".
        root: the project's directory.
    """

    def __init__(self, mode: str, root: Path, figures: Figures) -> None:
        self._mode = mode
        self._root = root
        self._figures = figures

    def look_up(self, spec: ContainerSpec, wishes: Mapping[str, Any], node: Node, *, shared: bool) -> Cached:
        """Where the prepared state of a container that is about to be spawned is kept, and whether it is there.

        Args:
            shared: others have a volume of the session that it is to have; its content is theirs as well.

        Raises:
            pytest.UsageError: a declared input does not exist. TfError: the image cannot be had.
        """
        if not spec.preparation:
            return NOWHERE
        if shared:
            log.info("what %s prepares is not kept: others have its volumes as well", spec.where)
            return NOWHERE
        name = PREFIX + self._key(spec, wishes, node)[:DIGITS]
        kept = self._found(name, node) if self._mode == "on" else None
        return Cached(name, kept, prepared=kept is not None)

    def _key(self, spec: ContainerSpec, wishes: Mapping[str, Any], node: Node) -> str:
        told = {name: value for name, value in wishes.items() if name not in ELSEWHERE}
        told["volumes"] = {
            path: volume.uuid if volume.persistent else "the session's" for path, volume in wishes["volumes"].items()
        }
        return spec.preparation.key(node.location.image_identity(wishes["image"]), told, self._root)

    def _found(self, name: str, node: Node) -> Kept | None:
        try:
            kept = node.location.kept_snapshot(name)
            if kept.node.pk == node.pk:
                return kept
        except NotFound as missing:
            log.debug("%s", missing)
            return None
        log.info("%s is on another node than this run's containers", name)
        return None

    def resume(self, kept: Kept, wishes: Mapping[str, Any], node: Node) -> Container:
        """A container from its prepared state. The fixtures' volumes become those that come with it.

        Raises:
            TfError: as `Location.resume`, `Volume.take_over`.
        """
        container = node.location.resume(kept)
        with Undo() as undo:
            undo.push(container.destroy)
            for path, volume in wishes["volumes"].items():
                if not volume.persistent:
                    volume.take_over(container.volumes[path])
            undo.done()
        return container

    def prepare(self, container: Container, spec: ContainerSpec, cached: Cached, label: str) -> None:
        """Prepare a container that is ready, unless it was booted from its prepared state; keep the state.

        Raises what the preparing functions raise.
        """
        if not spec.preparation:
            return
        if cached.prepared:
            if cached.kept is not None:  # otherwise another worker has just told how long it took
                self._figures.prepared.append((0.0, label, True))
            return
        begun = time.monotonic()
        spec.preparation.run(container)
        container.wait_until_ready(spec.timeout)
        self._figures.prepared.append((time.monotonic() - begun, label, False))
        if cached.name and self._mode != "off":
            self._keep(container, cached.name, label)

    def _keep(self, container: Container, name: str, label: str) -> None:
        try:
            container.keep(name, evictable=True, replace=True, labels={"baseline": label})
        except TfError as error:
            warnings.warn(
                pytest.PytestWarning(f"{label} is prepared, but that cannot be kept for the next run: {error}"),
                stacklevel=2,
            )
