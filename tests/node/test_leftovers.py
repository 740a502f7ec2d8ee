"""What a killed agent leaves half done goes at the next one's start, and nothing else does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts
from tfnode.containers.leftovers import remove_all_of, remove_leftovers
from tfnode.containers.table import moments_on_disk
from tfnode.storage.directory import Directory
from tfnode.storage.interface import Empty, Storage
from tfnode.storage.overlay import Overlay
from tfnode.volumes.ledger import Entry

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="foreign owners need root")

DRIVERS = {"directory": Directory, "overlay": Overlay}
C = "1" * 22
V1, V2 = "v-" + "1" * 22, "v-" + "2" * 22


@pytest.fixture(params=DRIVERS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    with private_mounts():
        driver = DRIVERS[request.param](tmp_path)
        yield driver
        driver.close()


def test_what_is_whole_stays_and_the_rest_goes(storage: Storage) -> None:
    entries = [Entry(id=V1, session="s", account="a", persistent=True, tree=f"{V1}.t3", count=5)]
    storage.prepare(f"{V1}.t3", Empty())
    storage.snapshot(f"{V1}.t3", f"{V1}.s4.named")
    storage.snapshot(f"{V1}.t3", f"{V1}.c.{C}.whole")
    storage.snapshot(f"{V1}.t3", f"{V1}.c.{C}.half")
    storage.clone(f"{V1}.s4.named", f"{V1}.t5")
    storage.prepare(f"c-{C}.g1", Empty())
    storage.snapshot(f"c-{C}.g1", f"c-{C}.s.whole")
    storage.clone(f"c-{C}.s.whole", f"c-{C}.g2")
    storage.prepare(f"{V2}.t0", Empty())
    storage.snapshot(f"{V2}.t0", f"{V2}.s1.named")
    storage.clone(f"{V2}.s1.named", f"{V2}.t2")
    remove_leftovers(storage, entries)
    assert {info.label for info in storage.walk()} == {
        f"{V1}.t3",
        f"{V1}.s4.named",
        f"{V1}.c.{C}.whole",
        f"c-{C}.s.whole",
    }
    assert moments_on_disk(storage.walk())[f"c-{C}"]["whole"].volumes == {V1: f"{V1}.c.{C}.whole"}


def test_what_something_whole_grew_from_stays(storage: Storage) -> None:
    """A volume that was put back to a snapshot which nobody can name any more still rests on it."""
    storage.prepare(f"{V1}.t0", Empty())
    storage.snapshot(f"{V1}.t0", f"{V1}.c.{C}.half")
    storage.clone(f"{V1}.c.{C}.half", f"{V1}.t1")
    remove_leftovers(storage, [Entry(id=V1, session="s", account="a", persistent=False, tree=f"{V1}.t1", count=1)])
    assert f"{V1}.t1" in {info.label for info in storage.walk()}
    assert f"{V1}.t0" not in {info.label for info in storage.walk()}


def test_all_of_a_container_goes_and_what_was_kept_of_it_stays(storage: Storage) -> None:
    storage.prepare(f"c-{C}.g0", Empty())
    storage.snapshot(f"c-{C}.g0", f"c-{C}.s.base")
    storage.clone(f"c-{C}.s.base", f"c-{C}.g1")
    storage.snapshot(f"c-{C}.g1", "k-kept.s.kept")
    storage.prepare(f"c-{'2' * 22}.g0", Empty())
    remove_all_of(storage, f"c-{C}")
    left = {info.label for info in storage.walk() if not info.label.startswith("retired.")}
    assert left == {"k-kept.s.kept", f"c-{'2' * 22}.g0"}
