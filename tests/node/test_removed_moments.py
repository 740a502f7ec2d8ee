"""A container's snapshot is removed as a whole: root and volumes, or nothing, and what was interrupted is finished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfcore.errors import WrongState
from tfnode.containers.generations import MachineGenerations
from tfnode.containers.life import Moment
from tfnode.storage.directory import Directory
from tfnode.storage.interface import Empty, Storage

CONTAINER, VOLUME = "c-" + "a" * 22, "v-" + "b" * 22
ONE = Moment("one", f"{CONTAINER}.s.one", volumes={VOLUME: f"{VOLUME}.c.{'a' * 22}.one"})


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    made = Directory(tmp_path / "storage")
    for tree, label in ((f"{CONTAINER}.g1", ONE.root), (f"{VOLUME}.t1", ONE.volumes[VOLUME])):
        made.prepare(tree, Empty())
        made.snapshot(tree, label)
    yield made
    made.close()


def generations(storage: Storage) -> MachineGenerations:
    elsewhere: Any = None
    return MachineGenerations(
        storage, elsewhere, elsewhere, elsewhere, Path("/nowhere"), elsewhere, elsewhere, elsewhere
    )


def there(storage: Storage) -> set[str]:
    return {info.label for info in storage.walk()} & {ONE.root, *ONE.volumes.values()}


@pytest.mark.parametrize("grown", [f"{CONTAINER}.g2", f"{VOLUME}.t2"])
def test_what_something_grew_from_stays_as_a_whole(storage: Storage, grown: str) -> None:
    storage.clone(ONE.root if grown.startswith("c-") else ONE.volumes[VOLUME], grown)
    with pytest.raises(WrongState, match=f"'one' is needed by {grown}"):
        generations(storage).remove_moment(ONE)
    assert there(storage) == {ONE.root, *ONE.volumes.values()}


def test_others_do_not_hold_it_back_and_an_earlier_attempt_may_have_got_half_way(storage: Storage) -> None:
    storage.clone(ONE.root, "x-kept")
    storage.retire(ONE.root)
    generations(storage).remove_moment(ONE)
    assert there(storage) == set()
