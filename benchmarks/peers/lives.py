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
REPLACED = "docker rm + run"
COMMITTED = "docker commit + run"
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
    make = makers()[service.image]

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


def makers() -> dict[str, Callable[[str], Any]]:
    """testcontainers' own class for each example image, to be given the image."""
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


ELSEWHERE: Mapping[str, dict[str, Any]] = {
    "redis": {"command": ["redis-server", "--dir", "/tmp"]},
    "postgres": {"environment": {"PGDATA": "/var/lib/postgresql/baked"}},
}
"""What makes an image keep its data where it declares no volume: `docker commit` leaves volumes out."""


def committed_image(engine: Engine, client: Client, service: Service, tag: str) -> str:
    """An image with the service's data in it: a container filled once, stopped, committed; returns its tag."""

    def commit() -> None:
        container, address = made(client, service, engine.images[service.image], **ELSEWHERE.get(service.image, {}))
        try:
            container.start()
            service.wait(address)
            service.fill(address)
            container.stop(timeout=60)
            container.commit(*tag.split(":"))
        finally:
            container.remove(force=True, v=True)

    engine.inside(commit)
    return tag


@contextmanager
def client_of(engine: Engine) -> Iterator[Client]:
    """A client of the engine, which testcontainers uses meanwhile, too. Containers that are left are removed."""
    with testcontainers_settings(engine), contextlib.closing(engine.client()) as client:
        try:
            yield client
        finally:
            remove_containers(client)
