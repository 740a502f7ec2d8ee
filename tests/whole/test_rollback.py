"""What rollback means (D9 of the design), by real containers on the whole line, for every storage driver.

What must be as it was is compared from outside, by root, through the root directory of the container's first process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.outside import files_of, root_of
from tests.whole.conftest import private_location, session_at
from tfnode.testing import play
from tfnode.testing.trees import Manifest, assert_same, differences
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module", params=["overlay", "directory"])
def place(request: pytest.FixtureRequest) -> Iterator[PrivateLocation]:
    with private_location(request.param) as made:
        yield made


@pytest.fixture
def location(place: PrivateLocation) -> Iterator[Location]:
    with session_at(place) as session:
        yield session


def as_before(wanted: dict[str, Manifest], container: Container) -> None:
    got = files_of(container)
    for top, manifest in wanted.items():
        assert_same(manifest, got[top])


# --- 1: everything is as it was


@dataclass(frozen=True)
class Furnished:
    """A container with one of everything, and its files as they were when the snapshot was taken."""

    container: Container
    wanted: dict[str, Manifest]


@pytest.fixture(scope="class")
def furnished(place: PrivateLocation, tiny: str) -> Iterator[Furnished]:
    with session_at(place) as location:
        volume = location.node().create_volume()
        container = location.node().spawn_container(
            tiny, command=["sleep", "infinity"], volumes={"/data": volume}, pre_boot_files={"/etc/seed": b"seed"}
        )
        container.wait_until_ready()
        for directory in ("own", "data/own"):
            play.furnish(root_of(container) / directory)
        container.snapshot("furnished")
        yield Furnished(container, files_of(container))


class TestEverything:
    @pytest.mark.parametrize("where", ["own", "data/own"])
    @pytest.mark.parametrize("spoiling", play.SPOILINGS)
    def test_comes_back(self, furnished: Furnished, spoiling: str, where: str) -> None:
        container = furnished.container
        play.SPOILINGS[spoiling](root_of(container) / where)
        spoilt = files_of(container)
        assert differences(furnished.wanted["/"], spoilt["/"]), "the test spoiled nothing"
        container.rollback("furnished")
        as_before(furnished.wanted, container)
