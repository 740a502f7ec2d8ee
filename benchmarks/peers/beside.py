"""What a rollback is compared with: the ways others give a test a service that nobody has touched.

Fresh containers by Docker and testcontainers, the image that `docker commit` makes of a filled container, and a copy of
the database inside a running PostgreSQL.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.ground.bench import Bench
from benchmarks.ground.services import NGINX, POSTGRES, USER, Service
from benchmarks.in_database import template_database
from benchmarks.measuring.rounds import Contestant
from benchmarks.peers import lives
from benchmarks.peers.engine import LABEL, Engine
from tfnz.location import Location

TEMPLATE = "CREATE DATABASE … TEMPLATE"
WITH_DATA = f"{lives.TESTCONTAINERS}, data in the image"


@contextmanager
def peers_of(service: Service, bench: Bench, location: Location) -> Iterator[list[Contestant]]:
    """Everybody who can do something of the kind with the service, on this machine. What they need is gone afterwards."""
    with contextlib.ExitStack() as stack:
        found = []
        if isinstance(bench.docker, Engine):
            bench.progress.step(f"{service.name}: preparing Docker")
            found += _containers(service, bench.docker, stack.enter_context(lives.client_of(bench.docker)))
        if service.image == POSTGRES.image:
            found.append(stack.enter_context(_template(service, bench, location)))
        yield found


def _containers(service: Service, engine: Engine, client: lives.Client) -> list[Contestant]:
    """Containers of the plain image, and of one with the data in it; nginx has none. A larger database starts with its data
    only: from an empty image it would be filled for every test."""
    plain = engine.images[service.image]
    tag = f"{LABEL}-committed:{''.join(letter for letter in service.name.lower() if letter.isalnum())}"
    filled = lives.committed_image(engine, client, service, tag)
    found = [Contestant(lives.COMMITTED, lives.docker_life(engine, client, service, filled))]
    if service.image != POSTGRES.image or service is POSTGRES:
        found.append(Contestant(lives.REPLACED, lives.docker_life(engine, client, service, plain)))
        found.append(Contestant(lives.TESTCONTAINERS, lives.testcontainers_life(engine, service, plain)))
    if service is not NGINX:
        found.append(Contestant(WITH_DATA, lives.testcontainers_life(engine, service, filled)))
    return found


@contextmanager
def _template(service: Service, bench: Bench, location: Location) -> Iterator[Contestant]:
    """A server in a container of ours that is never rolled back. Its disk does not wait for fsync, which flatters it."""
    container = bench.spawn(location, service)
    address = service.address_of(container)
    service.fill(address)
    yield Contestant(TEMPLATE, template_database(address, USER))
    container.destroy()  # before the session ends: a copy of 520 MB is in it


def like_for_like(service: Service) -> str:
    """The peer that starts from where ours does: with its data."""
    return lives.TESTCONTAINERS if service is NGINX else WITH_DATA
