"""Two caches whose seed lives in memory only, and the two ways to have it after a rollback.

A snapshot holds disks, not memory. So either what is in memory is written to the disk before the snapshot, and Redis
loads it when it boots; or it is loaded again at every boot, before the container counts as ready.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from pytest_tf import Container, container

SEED = {"rye": "3.50", "wheat": "2.90"}
COMMANDS = "".join(f"SET {name} {price}\n" for name, price in SEED.items())

flushed = container("oci:{images}/redis:latest", before_snapshot="redis-cli save")

loaded = container(
    "oci:{images}/redis:latest",
    command=["redis-server", "--save", ""],  # this one never writes to its disk
    pre_boot_files={"/seed.txt": COMMANDS},
    after_boot="redis-cli < /seed.txt",
)


def client(cache: Container) -> redis.Redis:
    return redis.Redis(port=cache.tunnel(6379).localport, decode_responses=True)


@pytest.fixture(scope="session")
def seeded(flushed: Container) -> Container:
    """The first cache, seeded by a client as a user would."""
    with client(flushed) as cache:
        cache.mset(SEED)
    return flushed


@pytest.fixture(params=["flushed before the snapshot", "loaded after each boot"])
def prices(request: pytest.FixtureRequest, seeded: Container, loaded: Container) -> Iterator[redis.Redis]:
    """A client of each of the two in turn."""
    with client(seeded if request.param.startswith("flushed") else loaded) as cache:
        yield cache
