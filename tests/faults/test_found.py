"""What campaigns of faults have found, played again: each by the steps that its report was shrunk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.campaign.rounds import Campaign, Step
from tests.faults.campaign.troubles import Local
from tests.support.line import short_directory
from tests.support.rootfs import rootfs_tar
from tests.support.runtime_machine import needs_crun

pytestmark = [*needs_crun, pytest.mark.leaks("module")]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    with short_directory() as directory:
        ground = Local(directory, "auto")
        image = f"rootfs:{rootfs_tar(tmp_path_factory.mktemp('image') / 'tiny.tar')}"
        try:
            yield Campaign(ground, image, seed=0)
        finally:
            ground.close()


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param("neighbour_comes_and_goes with step.discard=errno(EIO)@1*1", id="a former tree stayed mounted"),
        pytest.param("checkpoint with cgroup.thaw=errno(EBUSY)@1*2", id="held still for ever, and taken for clean"),
        pytest.param("nested with cgroup.thaw=errno(EBUSY)@1*2", id="a snapshot was there that nobody knew of"),
        pytest.param("nested with storage.commit=errno(EIO)@1*2", id="what could not be taken back stayed"),
        pytest.param("upload with cache.place=errno(EIO)@1*1", id="a disk's refusal was called a defect"),
    ],
)
def test_it_holds_now(campaign: Campaign, steps: str) -> None:
    assert campaign.play([Step.parse(step) for step in steps.split(";")], 0) == ""
