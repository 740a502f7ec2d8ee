"""A short campaign of faults; `make faults` is the long one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.campaign.faults import draw
from tests.faults.campaign.rounds import Campaign, Step, shrink, steps_of
from tests.faults.campaign.troubles import Kind, Local, Remote
from tests.support.line import short_directory
from tests.support.rootfs import rootfs_tar
from tests.support.runtime_machine import needs_crun

pytestmark = [*needs_crun, pytest.mark.leaks("module")]

ALL = tuple(Kind)
FAULTS = 25
SEED = 2026


@pytest.fixture(scope="module", params=[Local, Remote])
def ground(request: pytest.FixtureRequest) -> Iterator[Local]:
    with short_directory() as directory:
        made = request.param(directory, "auto")
        try:
            yield made
        finally:
            made.close()


@pytest.mark.timeout(300)
def test_whatever_fails_the_next_test_passes_and_nothing_is_left(ground: Local, tmp_path: Path) -> None:
    campaign = Campaign(ground, f"rootfs:{rootfs_tar(tmp_path / 'tiny.tar')}", SEED)
    number = 0
    while campaign.tally.faults < FAULTS:
        campaign.round(number)
        number += 1
        assert not campaign.tally.broken, "\n".join(campaign.tally.broken)


def test_a_round_follows_from_its_seed_and_number() -> None:
    assert steps_of(7, 3, ALL) == steps_of(7, 3, ALL) != steps_of(7, 4, ALL)
    assert steps_of(8, 3, ALL) != steps_of(7, 3, ALL)


def test_a_step_can_be_played_again_from_its_report() -> None:
    steps = [step for number in range(30) for step in steps_of(1, number, ALL)]
    assert [Step.parse(str(step)) for step in steps] == steps


def test_shrinking_leaves_what_breaks_it() -> None:
    steps = steps_of(1, 1, ALL)
    culprits = {steps[2], steps[5]}
    assert set(shrink(steps, "at first", lambda some: "still" if culprits <= set(some) else "")[0]) == culprits


def test_every_fault_can_be_drawn() -> None:
    import random

    drawn = {draw(random.Random(number)).name for number in range(5000)}
    assert {"storage.place", "runtime.create", "netlink.ask", "answer.container.spawn"} <= drawn
