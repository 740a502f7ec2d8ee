"""One pytest process's session with a location: opened when first needed, closed in every case.

Knows which containers the plugin looks after; not when they are rolled back (`isolation.py`).
"""

from __future__ import annotations

import logging
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tf.baseline_cache import BaselineCache
from pytest_tf.figures import Figures
from pytest_tf.guarded import Guarded
from pytest_tf.options import Options
from pytest_tf.stash import OPTIONS, SESSION

if TYPE_CHECKING:
    from pytest_tf.sharing import Sharing
    from tfnz.location import Location
    from tfnz.node import Node

log = logging.getLogger(__name__)

NO_NAME = re.compile(r"[^0-9A-Za-z-]+")


def connect(name: str, address: str | None) -> Location:
    """Open a session with a location; see `tfnz.Location`."""
    from tfnz.location import Location

    return Location(name, address, quiet=True)


class Session:
    """The session, its containers and what they cost.

    Attributes:
        worker: xdist's id of this process, or "".
        cache: prepared containers of earlier runs.
        guarded: the containers to look after, oldest first.
        stopping: the run was interrupted: what can wait for the session's end does.
        booting: containers that were spawned ahead of their fixture's set-up, by its definition, or why they could not be.
    """

    def __init__(self, options: Options, *, root: Path, worker: str = "", arbiter: str = "") -> None:
        self.options = options
        self.worker = worker
        self._arbiter = arbiter
        self._sharing: Sharing | None = None
        self.figures = Figures()
        self.cache = BaselineCache(options.cache, root, self.figures)
        self.guarded: list[Guarded] = []
        self.booting: dict[Any, Guarded | Exception] = {}
        self.stopping = False
        self._location: Location | None = None
        self._failure: Exception | None = None
        self._node: Node | None = None

    @property
    def is_open(self) -> bool:
        """True if there is a session."""
        return self._location is not None

    @property
    def goes_on(self) -> bool:
        """True if what is done with may be freed one by one; False if the session's end is near and frees everything."""
        return self.is_open and not self.stopping

    def open(self) -> Location:
        """The location, connected to at the first call. What went wrong then goes wrong at once ever after.

        Raises:
            NoLocation: `--tf-location=none`.
            TfError: as `tfnz.Location`.
        """
        from pytest_tf.outcomes import NoLocation
        from tfcore.errors import TfError

        if self._failure is not None:
            raise self._failure
        if self._location is None:
            try:
                self._location = self._connect()
            except (TfError, NoLocation) as error:
                self._failure = error
                raise
            self.figures.locations.append(self._location.name)
        return self._location

    def _connect(self) -> Location:
        from pytest_tf.outcomes import MISSING, NoLocation
        from tfnz import local

        name = self.options.location
        if name == "none":
            raise NoLocation
        if name == "auto":
            name = local.location_or(None)
        try:
            return connect(name, self.options.location_ip or None)
        except MISSING as error:
            if self.options.missing != "local" or name == local.NAME:
                raise
            log.warning("no location %s, using the local one: %s", name, error)
            return connect(local.NAME, None)

    def node(self) -> Node:
        """The node for this session's containers: the best one at first, then always the same, so that they can talk."""
        if self._node is None or not self._node.alive:
            self._node = self.open().node()
        return self._node

    @property
    def sharing(self) -> Sharing:
        """How containers are shared with xdist's other workers."""
        if self._sharing is None:
            from pytest_tf.sharing import Sharing

            self._sharing = Sharing(self._arbiter, self.options.location_ip, self.figures.forked)
        return self._sharing

    def host_name(self, name: str, *, shared: bool = False) -> str:
        """A container's host name: its fixture's, with the worker's id unless it is one for all workers."""
        return (
            NO_NAME.sub("-", f"{name}-{self.worker}" if self.worker and not shared else name).strip("-")[:63]
            or "container"
        )

    def isolation_of(self, wish: str) -> str:
        """How a container that wishes to be isolated so, or says nothing, is isolated."""
        return self.options.isolate_all or wish or self.options.isolate

    def isolate_nothing(self) -> None:
        """Nothing goes back any more, neither the containers there are nor those to come."""
        self.options = self.options._replace(isolate_all="none")
        for one in self.guarded:
            one.isolate, one.baseline, one.due = "none", "", ""
            one.levels.clear()

    def guard(self, guarded: Guarded) -> None:
        """Look after a container from now on."""
        self.guarded.append(guarded)

    def living(self) -> list[Guarded]:
        """The containers that exist: a test may have destroyed one."""
        existing = self._location.containers if self._location is not None else {}
        return [guarded for guarded in self.guarded if guarded.container.uuid in existing]

    def spawned_ahead(self) -> list[Guarded]:
        """The containers in `booting`."""
        return [spawned for spawned in self.booting.values() if not isinstance(spawned, Exception)]

    def adopt(self, owner: Any, before: set[str]) -> None:
        """Look after the containers a fixture has spawned by itself, if it is wider than a test.

        Args:
            owner: the fixture's definition.
            before: ids of the containers there were before its set-up.
        """
        if self._location is None or owner.scope == "function":
            return
        known = before | {one.container.uuid for one in [*self.guarded, *self.spawned_ahead()]}
        for uuid, container in self._location.containers.items():
            if uuid not in known:
                self.guard(Guarded(container, owner.argname, owner, self.isolation_of("")))

    def dismiss(self, guarded: Guarded) -> None:
        """Look after it no more, and destroy it unless a test has done so, or the session's end will."""
        exists = guarded in self.living()
        self.guarded.remove(guarded)
        if exists and self.goes_on:
            guarded.container.destroy()

    def close(self) -> None:
        """Free everything of the session. Safe to call twice; an error is logged, since the location frees it anyway."""
        from tfcore.errors import TfError, WrongState

        location, self._location = self._location, None
        self.guarded.clear()
        if location is None:
            return
        self._failure = WrongState("the test session is over")
        try:
            location.disconnect()
        except (TfError, OSError) as error:
            log.warning("closing the session with %s: %s", location.name, error)
        self.sharing.close()


def session_of(config: pytest.Config) -> Session:
    """The session of this run, not necessarily open."""
    if SESSION not in config.stash:
        told = getattr(config, "workerinput", {})
        worker, arbiter = told.get("workerid", ""), told.get("tf_arbiter", "")
        config.stash[SESSION] = Session(config.stash[OPTIONS], root=config.rootpath, worker=worker, arbiter=arbiter)
    return config.stash[SESSION]


def run_id(config: pytest.Config) -> str:
    """The same in all processes of a run, and in no other run."""
    given: str | None = getattr(config, "workerinput", {}).get("testrunuid")
    return given or secrets.token_hex(8)
