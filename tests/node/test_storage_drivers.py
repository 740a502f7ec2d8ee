"""Choosing a driver: by what the directory's file system can do, in the driver's own words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts
from tfcore.errors import BadRequest, HostLacks, WrongState
from tfnode.kernel import mounts
from tfnode.storage import drivers
from tfnode.storage.interface import OverlayMount, Probe

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")


@pytest.fixture
def overlaid(tmp_path: Path) -> Iterator[Path]:
    """A directory on an overlay, which cannot carry another one's upper directory."""
    for name in ("lower", "upper", "work", "overlaid"):
        (tmp_path / name).mkdir()
    with private_mounts():
        layers = OverlayMount((tmp_path / "lower",), tmp_path / "upper", tmp_path / "work", volatile=False)
        mounts.mount_tree(layers, tmp_path / "overlaid")
        yield tmp_path / "overlaid"


@root_only
def test_the_overlay_is_preferred(tmp_path: Path) -> None:
    with closing(drivers.choose(tmp_path / "new" / "root")) as storage:
        assert storage.name == "overlay"
    assert sorted(os.listdir(tmp_path / "new/root")) == ["data", "new", "store.sqlite", "trash"]


@root_only
@pytest.mark.usefixtures("overlaid")
def test_directory_is_taken_where_no_overlay_works(overlaid: Path) -> None:
    with closing(drivers.choose(overlaid)) as storage:
        assert storage.name == "directory"


@root_only
def test_a_refusal_is_a_sentence_with_the_kernels_reason(overlaid: Path) -> None:
    probes = drivers.probe_all(overlaid)
    assert not probes["overlay"].usable
    assert str(overlaid) in probes["overlay"].sentence
    assert "Invalid argument" in probes["overlay"].sentence
    assert probes["directory"].usable
    with pytest.raises(HostLacks, match="Invalid argument"):
        drivers.choose(overlaid, "overlay")
    assert os.listdir(overlaid) == []


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    before = mounts.mount_points()
    for probe in drivers.probe_all(tmp_path).values():
        assert isinstance(probe, Probe)
        assert probe.sentence
    assert os.listdir(tmp_path) == []
    assert mounts.mount_points() == before


def test_a_named_driver(tmp_path: Path) -> None:
    with closing(drivers.choose(tmp_path, "directory")) as storage:
        assert storage.name == "directory"


def test_an_unknown_driver_is_refused_with_the_choice(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="auto, overlay, btrfs, zfs, directory"):
        drivers.choose(tmp_path / "root", "zsf")
    assert not (tmp_path / "root").exists()


@root_only
def test_a_directory_keeps_its_driver(tmp_path: Path) -> None:
    drivers.choose(tmp_path, "directory").close()
    with closing(drivers.choose(tmp_path)) as storage:
        assert storage.name == "directory"
    with pytest.raises(WrongState, match="written by the storage driver directory"):
        drivers.choose(tmp_path, "overlay")


@root_only
def test_a_directory_in_use_is_said_to_be(tmp_path: Path) -> None:
    with closing(drivers.choose(tmp_path)), pytest.raises(WrongState, match="in use by another process"):
        drivers.choose(tmp_path)
