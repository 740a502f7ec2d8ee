"""A location in one file and back: taken while it runs, checked before anything changes, never over what is there."""

from __future__ import annotations

import asyncio
import io
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.location.world import World, location, run
from tfcore import keys
from tfcore.errors import BadRequest, NotFound, TfError, WrongState
from tfcore.wire import images as i
from tfcore.wire import sessions as s
from tflocation.backup import back_up, restore
from tflocation.cli import main
from tflocation.directory import Directory
from tflocation.options import ConfigFile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


@pytest.fixture
def made(root: Path) -> Directory:
    directory = Directory(root)
    directory.make(ConfigFile(name="lab", address="tcp://lab:5555"))
    return directory


@pytest.mark.parametrize("images", [False, True])
def test_a_running_location_comes_back_as_it_was(root: Path, tmp_path: Path, *, images: bool) -> None:
    async def before() -> World:
        async with location(root) as world:
            await world.node()
            alice = await world.client("alice")
            await world.container(alice)
            await world.volume(alice, tag="data", persistent=True)
            await asyncio.to_thread(back_up, Directory(root), tmp_path / "b", images=images)
            await world.volume(alice, tag="later", persistent=True)
            return world

    async def after(former: World) -> None:
        async with location(root) as world:
            world.pairs = former.pairs
            alice = world.party(world.pairs["alice"])
            welcome = await alice.hello()
            assert [volume.tag for volume in welcome.volumes] == ["data"]
            assert world.server_key == keys.load(root / "location.key").public
            cached = (await alice.call(i.ListImages())).images
            assert [image.name for image in cached] == (["web"] if images else [])

    former = run(before)
    shutil.rmtree(root)
    restored = restore(tmp_path / "b", Directory(root))
    assert restored.aside is None
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert root.stat().st_mode & 0o777 == 0o700
    assert (root / "location.key").stat().st_mode & 0o777 == 0o600
    run(lambda: after(former))


def test_what_is_there_is_not_overwritten(made: Directory, tmp_path: Path) -> None:
    back_up(made, tmp_path / "b")
    with pytest.raises(WrongState, match="exists"):
        back_up(made, tmp_path / "b")
    with pytest.raises(WrongState, match="--force"):
        restore(tmp_path / "b", made)
    restored = restore(tmp_path / "b", made, force=True)
    assert restored.aside is not None
    assert (restored.aside / "location.key").exists(), "what was there is moved aside"
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "mine").touch()
    with pytest.raises(WrongState, match="not empty"):
        restore(tmp_path / "b", Directory(strange))


def test_a_running_location_is_not_replaced(root: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await asyncio.to_thread(back_up, Directory(root), tmp_path / "b")
            with pytest.raises(WrongState, match="running"):
                await asyncio.to_thread(restore, tmp_path / "b", Directory(root), force=True)
            await (await world.client()).call(s.RenewLease())

    run(scenario)


def altered(source: Path, target: Path, name: str, content: bytes, *, link: bool = False) -> None:
    """A copy of a backup in which one member is another, or one more."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for info in old:
            if info.name != name:
                new.addfile(info, old.extractfile(info))
        info = tarfile.TarInfo(name)
        info.size = 0 if link else len(content)
        if link:
            info.type, info.linkname = tarfile.SYMTYPE, content.decode()
        new.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "content", "link"),
    [
        ("location.sqlite", b"not a database", False),
        ("../escaped", b"x", False),
        ("location.toml", b"/etc/passwd", True),
        ("surprise", b"x", False),
    ],
)
def test_a_file_that_is_no_sound_backup_makes_nothing(
    made: Directory, tmp_path: Path, name: str, content: bytes, *, link: bool
) -> None:
    back_up(made, tmp_path / "b")
    altered(tmp_path / "b", tmp_path / "bad", name, content, link=link)
    before = set(tmp_path.iterdir())
    with pytest.raises(BadRequest):
        restore(tmp_path / "bad", Directory(tmp_path / "new"))
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("content", [b"", b"rubbish" * 1000])
def test_a_file_that_is_no_backup_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(BadRequest, match="not a backup"):
        restore(tmp_path / "b", Directory(tmp_path / "new"))
    with pytest.raises(NotFound, match="there is no"):
        restore(tmp_path / "none", Directory(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_disk_that_is_not_there(made: Directory, tmp_path: Path) -> None:
    with pytest.raises(TfError, match="cannot write"):
        back_up(made, tmp_path / "nowhere" / "b")


def test_both_verbs(made: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", str(tmp_path / "b"), "--dir", str(made.root)]) == 0
    assert "secret key" in capsys.readouterr().out
    assert main(["restore", str(tmp_path / "b"), "--dir", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert "location lab" in said
    assert "tf-location serve --dir" in said
