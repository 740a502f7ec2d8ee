"""A container's life with the tools people use now: made, started, ready, removed. Each turn is one life."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.ground.remote import free_port
from benchmarks.ground.services import Address, Service
from benchmarks.measuring.rounds import Turn, milliseconds
from benchmarks.peers.engine import LABEL, Engine, remove_containers

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

    Client = docker.DockerClient

DOCKER = "docker"
TESTCONTAINERS = "testcontainers"

TIGHT = {
    "TESTCONTAINERS_RYUK_DISABLED": "true",
    "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
    "TC_HOST": "127.0.0.1",
    "TC_POOLING_INTERVAL": "0.002",
    "TC_MAX_TRIES": "30000",
}
"""testcontainers without its reaper (one more container), finding ports where they are although this may look like the
inside of a container, and asking as often as we do instead of once a second."""


class Removable(Protocol):
    """A container of Docker's, as far as it is to be got rid of."""

    def remove(self, *, force: bool, v: bool) -> None:
        """End and remove it, with its volumes."""


def made(
    client: Client, service: Service, image: str, environment: Mapping[str, str] | None = None, **more: Any
) -> tuple[Container, Address]:
    """A container that is not started, and where it will be reached. To be called inside the engine."""
    port = free_port()
    container = client.containers.create(
        image,
        ports={f"{service.port}/tcp": ("127.0.0.1", port)},
        environment={**service.environment, **(environment or {})},
        labels={LABEL: ""},
        **more,
    )
    return container, ("127.0.0.1", port)


def docker_life(engine: Engine, client: Client, service: Service, image: str) -> Turn:
    """Create, start, ready, remove, by the Docker SDK for Python: what isolates one test from the next."""

    def live() -> None:
        container, address = made(client, service, image)
        try:
            container.start()
            service.wait(address)
        finally:
            container.remove(force=True, v=True)

    return lambda: engine.inside(lambda: milliseconds(live))


def testcontainers_life(engine: Engine, service: Service, image: str) -> Turn:
    """The same by testcontainers-python: made, started, ready for it and for us, stopped."""
    make = _makers()[service.image]

    def live() -> None:
        with make(image) as container:
            service.wait(("127.0.0.1", int(container.get_exposed_port(service.port))))

    return lambda: engine.inside(lambda: milliseconds(live))


@contextmanager
def testcontainers_settings(engine: Engine) -> Iterator[None]:
    """What testcontainers reads when it is first imported and when it makes a client."""
    settings = {**TIGHT, "DOCKER_HOST": engine.url}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _makers() -> dict[str, Callable[[str], Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about its own older parts
        from testcontainers.community.nginx import NginxContainer
        from testcontainers.community.postgres import PostgresContainer
        from testcontainers.community.redis import RedisContainer

    def postgres(image: str) -> Any:
        container = PostgresContainer(
            image, username="test", password="x", dbname="test", driver=None, labels={LABEL: ""}
        )
        return container.with_env("POSTGRES_HOST_AUTH_METHOD", "trust")

    return {
        "nginx": lambda image: NginxContainer(image, labels={LABEL: ""}),
        "redis": lambda image: RedisContainer(image, labels={LABEL: ""}),
        "postgres": postgres,
    }


def filled_image(engine: Engine, client: Client, service: Service, tag: str) -> str:
    """An image with the service's data in it, as a team would bake it: filled once, stopped, committed.

    The data go where the image declares no volume: `docker commit` leaves volumes out.
    """
    elsewhere = {"PGDATA": "/var/lib/postgresql/baked"} if service.image == "postgres" else {}

    def bake() -> None:
        container, address = made(client, service, engine.images[service.image], elsewhere)
        try:
            container.start()
            service.wait(address)
            service.fill(address)
            container.stop(timeout=60)
            container.commit(*tag.split(":"))
        finally:
            container.remove(force=True, v=True)

    engine.inside(bake)
    return tag


def restored(engine: Engine, client: Client, service: Service, tag: str) -> Turn:
    """`docker commit` used as a snapshot: remove the container, run the committed image until it is ready."""
    container, address = engine.inside(lambda: made(client, service, engine.images[service.image]))
    container.start()
    engine.inside(lambda: service.wait(address))
    container.commit(*tag.split(":"))
    current = [container]

    def restore() -> None:
        current.pop().remove(force=True, v=True)
        fresh, at = made(client, service, tag)
        current.append(fresh)
        fresh.start()
        service.wait(at)

    return lambda: engine.inside(lambda: milliseconds(restore))


@contextmanager
def client_of(engine: Engine) -> Iterator[Client]:
    """A client of the engine, which testcontainers uses meanwhile, too. Containers that are left are removed."""
    with testcontainers_settings(engine), contextlib.closing(engine.client()) as client:
        try:
            yield client
        finally:
            remove_containers(client)
