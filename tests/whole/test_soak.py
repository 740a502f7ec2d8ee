"""A short soak: after some hundred rollbacks and some dozen spawns a location has what it had before."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import soak
from tests.support import example_images
from tests.support.line import private_location

ROLLBACKS, SPAWNS = 200, 40


@pytest.mark.timeout(300)
def test_nothing_grows() -> None:
    image = example_images.reference("nginx")
    with private_location() as place, place.effective():
        found = soak.soak(
            place.connect, lambda: soak.place_of(Path(place.environment["TF_LOCAL_DIR"])), image,
            rollbacks=ROLLBACKS, spawns=SPAWNS, parts=2,
        )  # fmt: skip
    assert soak.too_much(found[0], found[-1]) == []


def test_what_grows_is_named() -> None:
    before = {"agent memory, MB": 50.0, "agent descriptors": 20.0, "mounts": 7.0, "disk, MB": 10.0}
    after = {"agent memory, MB": 50.0 + soak.GROWTH + 1, "agent descriptors": 21.0, "mounts": 8.0, "disk, MB": 10.5}
    assert [word.partition(":")[0] for word in soak.too_much(before, after)] == ["agent memory, MB", "mounts"]
    assert [word.partition(":")[0] for word in soak.too_late(before, after)] == ["agent memory, MB"]
    assert soak.too_much(before, before) == []
