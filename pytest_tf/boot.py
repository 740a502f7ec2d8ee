"""From a spec to a running container, and to its end: what the fixtures of `fixtures.py` and `factories.py` do.

Containers boot by themselves once they are spawned, so all that a test needs are spawned with its first one.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_tf import closure
from pytest_tf.guarded import Guarded
from pytest_tf.levels import scope_of
from pytest_tf.limits import warn_of_limits
from pytest_tf.outcomes import fail
from pytest_tf.session import Session, session_of
from pytest_tf.sharing import NotYet, What
from pytest_tf.specs import MADE, ContainerSpec, VolumeSpec, Where, wrong
from tfcore.errors import BadRequest, NotFound, TfError
from tfcore.undo import Undo

if TYPE_CHECKING:
    from pytest_tf.baseline_cache import Cached
    from tfnz.container import Container
    from tfnz.node import Node
    from tfnz.volume import Volume


@dataclass(frozen=True)
class Order:
    """A container to be spawned: for the fixture `owner`, with the values of the fixtures its spec needs."""

    session: Session
    name: str
    owner: closure.Definition
    spec: ContainerSpec
    values: Mapping[str, Any]

    def spawn(self, request: pytest.FixtureRequest, *, ahead: bool = False) -> Guarded:
        """Have it booted.

        Args:
            ahead: nobody needs it yet.

        Raises:
            TfError, LookupError: what is wrong with the order.
            NotYet: it is wanted ahead, and another worker is just building it for all.
        """
        wishes = self.spec.wishes(self.values, request)
        volumes = tuple(wishes["volumes"].values())
        isolate = self.session.isolation_of(self.spec.isolate)
        self._check_shared(volumes, isolate)
        node = next((volume.node for volume in volumes if hasattr(volume, "node")), None) or self.session.node()
        cached = self.session.cache.look_up(self.spec, wishes, node, shared=bool(self._sharers(volumes)))
        container: Container
        if cached.kept is None and self._can_be_shared(volumes):
            container, forked = self._shared(node, wishes, cached, ahead=ahead)
            cached = replace(cached, prepared=forked)
            return Guarded(container, self.name, self.owner, isolate, self.spec, volumes, cached)
        with Undo() as undo:
            if cached.kept is not None:
                container = self.session.cache.resume(cached.kept, wishes, node)
            else:
                container = node.spawn_container(hostname=self.session.host_name(self.name), **wishes)
            undo.push(container.destroy)
            for other in self.spec.connects:
                self.values[other].allow_connection_from(container)
            undo.done()
        return Guarded(container, self.name, self.owner, isolate, self.spec, volumes, cached)

    def _shared(self, node: Node, wishes: Mapping[str, Any], cached: Cached, *, ahead: bool) -> tuple[Container, bool]:
        name = self.session.host_name(self.name, shared=True)
        what = What(node, name, wishes, prepared=cached.name)
        return self.session.sharing.spawn(what, ahead=ahead, timeout=self.spec.timeout)

    def _can_be_shared(self, volumes: tuple[Any, ...]) -> bool:
        """True if its boot concerns nobody else, so that a fork of another worker's is as good (`sharing.py`)."""
        if volumes or self.spec.connects or self.owner.scope == "function":
            return False
        return self.session.sharing.wanted

    def spawn_or_error(self, request: pytest.FixtureRequest, *, ahead: bool = False) -> Guarded | Exception:
        """As `spawn`; what went wrong is for the fixture's own set-up to tell."""
        try:
            return self.spawn(request, ahead=ahead)
        except (TfError, LookupError) as error:
            return error

    def _sharers(self, volumes: tuple[Any, ...]) -> dict[Guarded, list[Any]]:
        """The containers that have a volume of the session mounted that this one is to have, and which."""
        found = {}
        for other in [*self.session.living(), *self.session.spawned_ahead()]:
            if shared := [volume for volume in volumes if volume in other.volumes and not volume.persistent]:
                found[other] = shared
        return found

    def _check_shared(self, volumes: tuple[Any, ...], isolate: str) -> None:
        """Containers that share a volume are rolled back together, or one would take the other's volume away."""
        scope = scope_of(isolate, self.owner.scope)
        for other, shared in self._sharers(volumes).items():
            if scope != other.scope:
                raise BadRequest(
                    f"{other.name} has volume {shared[0].display_name()} mounted, too, and is rolled back "
                    f"{_when(other.scope)}, not {_when(scope)}",
                    hint="isolate both alike, give each its own volume, or give the volume a tag",
                )


def container_for(
    request: pytest.FixtureRequest, spec: ContainerSpec, values: Mapping[str, Any]
) -> Iterator[Container]:
    """The body of a container's fixture.

    Args:
        values: of the fixtures in `spec.needs`, by name.
    """
    session = session_of(request.config)
    owner = closure.definition_of(request)
    order = Order(session, _label(owner), owner, spec, values)
    spawned = session.booting.pop(owner, None) or order.spawn_or_error(request)
    if isinstance(spawned, Guarded):
        session.guard(spawned)
    _spawn_others(session, request)
    yield from _ready(order, spawned)


def volume_for(request: pytest.FixtureRequest, spec: VolumeSpec) -> Iterator[Volume]:
    """The body of a volume's fixture."""
    session = session_of(request.config)
    try:
        volume = _tagged(session, spec.tag) if spec.tag else session.node().create_volume()
    except TfError as error:
        _give_up(_label(closure.definition_of(request)), spec, error)
    yield volume
    if not volume.persistent and session.goes_on:
        volume.destroy()


def _tagged(session: Session, tag: str) -> Volume:
    location = session.open()
    try:
        return location.volume(tag)
    except NotFound:
        try:
            return session.node().create_volume(tag=tag, persistent=True)
        except BadRequest:
            return location.volume(tag)  # another worker has just made it


def maker_for(request: pytest.FixtureRequest) -> Iterator[Callable[..., Container]]:
    """The body of `make_container`."""
    session = session_of(request.config)
    owner = closure.definition_of(request)
    living: list[Iterator[Container]] = []

    def make_container(image: str, **arguments: Any) -> Container:
        """Spawn a container of `image` and wait until it is ready; it is destroyed at the end of the test.

        Args:
            arguments: as of `pytest_tf.container`, but `volumes` is {path: Volume} and `connects` a list of containers.
        """
        __tracebackhide__ = True
        where = Where.of(sys._getframe(1))
        order = Order(session, f"{_short(image)}-{len(living) + 1}", owner, *_made(image, arguments, where))
        spawned = order.spawn_or_error(request)
        if isinstance(spawned, Guarded):
            session.guard(spawned)
        alive = _ready(order, spawned)
        container = next(alive)
        living.append(alive)
        return container

    yield make_container
    for alive in reversed(living):
        next(alive, None)


def _made(image: str, arguments: dict[str, Any], where: Where) -> tuple[ContainerSpec, dict[str, Any]]:
    """A spec whose volumes and containers are given as objects: they get names of their own."""
    __tracebackhide__ = True
    unknown = sorted(set(arguments) - set(MADE))
    if unknown:
        raise wrong(where, f"make_container has no argument {', '.join(unknown)}; there is {', '.join(MADE)}")
    volumes = arguments.pop("volumes", {})
    connects = {f"container {number}": other for number, other in enumerate(arguments.pop("connects", ()))}
    spec = ContainerSpec(
        where=where, image=image, volumes={path: path for path in volumes}, connects=tuple(connects), **arguments
    )
    return spec, {**volumes, **connects}


def _spawn_others(session: Session, request: pytest.FixtureRequest) -> None:
    """The other containers this test asks for boot meanwhile: those of the session that wait for no fixture."""
    if request.scope != "session":
        return
    for name, definitions in closure.static(closure.item_of(request)).items():
        other = definitions[-1]
        spec = getattr(other.func, "tf_spec", None)
        if isinstance(spec, ContainerSpec) and _waits_for_nothing(session, other, spec, request):
            values = {need: request.getfixturevalue(need) for need in spec.needs}
            order = Order(session, name, other, spec, values)
            with contextlib.suppress(NotYet):
                session.booting[other] = order.spawn_or_error(request, ahead=True)


def _waits_for_nothing(
    session: Session, owner: closure.Definition, spec: ContainerSpec, request: pytest.FixtureRequest
) -> bool:
    if owner.scope != "session" or owner.cached_result is not None or owner in session.booting:
        return False
    if owner is closure.definition_of(request) or callable(spec.pre_boot_files):
        return False
    if any(one.levels and one.owner.argname in spec.needs for one in session.living()):
        return False  # what it does to them as it boots would be lost: see `late.py`
    return all(_is_set_up(need, request) for need in spec.needs)


def _is_set_up(name: str, request: pytest.FixtureRequest) -> bool:
    definition = closure.active(request).get(name)
    return definition is not None and closure.is_set_up(definition)


def _ready(order: Order, spawned: Guarded | Exception) -> Iterator[Container]:
    """The container, once it is ready; afterwards it is destroyed, also if it never became ready."""
    if isinstance(spawned, Exception):
        _give_up(order.name, order.spec, spawned)
    try:
        _wait(order, spawned.container)
        warn_of_limits(spawned.container, order.spec, order.name)
        order.session.cache.prepare(spawned.container, order.spec, spawned.cached, order.name)
        order.session.sharing.publish(spawned.container, order.spec.timeout)
        yield spawned.container
    finally:
        order.session.sharing.abandon(spawned.container)
        order.session.dismiss(spawned)


def _wait(order: Order, container: Container) -> None:
    begun = time.monotonic()
    try:
        container.wait_until_ready(order.spec.timeout)
    except TfError as error:
        _give_up(order.name, order.spec, error)
    order.session.figures.boots.append((time.monotonic() - begun, order.name))
    order.session.sharing.settle(container, order.spec.timeout)


def _give_up(name: str, spec: ContainerSpec | VolumeSpec, error: Exception) -> NoReturn:
    fail(f"{name}, made at {spec.where}: {error}")


def _when(scope: str) -> str:
    return f"after each {'test' if scope == 'function' else scope}" if scope else "never"


def _label(definition: closure.Definition) -> str:
    """What a fixture's container is called: as the fixture, and the stock ones as their public aliases."""
    name: str = definition.argname
    return name.removeprefix("tf_")


def _short(image: str) -> str:
    """The name in a reference: `nginx` in `oci:/images/nginx:latest` and in `registry/nginx@sha256:…`."""
    found = re.search(r"([\w.-]+?)(?::[\w.-]+)?(?:@.*)?$", image)
    return found[1] if found else "container"
