"""Acts on files below a root, files held open, trees in and out: never outside, and nothing left open."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfcore.errors import BadRequest, NotFound, WrongState
from tfnode.containers import filetree
from tfnode.containers.fileaccess import Owner
from tfnode.containers.filestreams import Count, archive, unpack
from tfnode.containers.filetree import DEEPEST, Wanted
from tfnode.containers.openfile import HeldFile, Manner
from tfnode.images.shift import IdShift
from tfnode.kernel.paths import open_root

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners on disk need root")

IDS = IdShift(uid_base=100_000, gid_base=200_000)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A container's root with links that lead out; beside it a directory that must never be reached."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("outside")
    inside = tmp_path / "root"
    (inside / "etc").mkdir(parents=True)
    (inside / "etc/file").write_text("inside")
    (inside / "out").symlink_to("../outside")
    (inside / "absolute").symlink_to(tmp_path / "outside")
    yield inside
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["file"]
    assert (tmp_path / "outside/file").read_text() == "outside"


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    fd = open_root(tree)
    before = set(os.listdir("/proc/self/fd"))
    yield fd
    assert set(os.listdir("/proc/self/fd")) == before, "a descriptor was left open"
    os.close(fd)


def archived(root: int, path: str) -> dict[str, tarfile.TarInfo]:
    content = b"".join(archive(root, path, ids=IDS, count=Count()))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {info.name: info for info in tar}


def packed(*members: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return made.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
    return info


# --- single acts


@pytest.mark.parametrize("way", ["/out", "/absolute"])
def test_links_that_lead_out_lead_nowhere(root: int, way: str) -> None:
    status, target, real = filetree.look(root, way, follow=False)
    assert (stat.S_ISLNK(status.st_mode), real) == (True, way)
    assert target.endswith("outside")
    for act in (
        lambda: filetree.look(root, way, follow=True),
        lambda: filetree.entries(root, way, after="", most=9),
        lambda: filetree.rename(root, "/etc/file", f"{way}/file", replace=True),
        lambda: filetree.remove(root, f"{way}/file", "file"),
        lambda: filetree.change(root, f"{way}/file", Wanted(mode=0o777), follow=True, ids=IDS),
        lambda: filetree.make_directory(root, f"{way}/new", parents=False, mode=0o755, uid=0, gid=0, ids=IDS),
        lambda: filetree.make_link(root, f"{way}/new", "x", hard=False, uid=0, gid=0, ids=IDS),
        lambda: HeldFile(root, f"{way}/file", Manner(), IDS),
        lambda: archive(root, way, ids=IDS, count=Count()),
    ):
        with pytest.raises(NotFound):
            act()
    filetree.remove(root, way, "tree")
    with pytest.raises(NotFound):
        filetree.look(root, way, follow=False)


def test_entries_come_by_name_page_by_page(root: int, tree: Path) -> None:
    for name in (b"b", b"\xff", b"a", b"c"):
        (tree / "etc" / os.fsdecode(name)).touch()
    first, more = filetree.entries(root, "/etc", after="", most=3)
    rest, none = filetree.entries(root, "/etc", after=first[-1][0], most=3)
    assert [os.fsencode(name) for name, _, _ in (*first, *rest)] == [b"a", b"b", b"c", b"file", b"\xff"]
    assert (more, none) == (True, False)


def test_changes(root: int, tree: Path) -> None:
    wanted = Wanted(mode=0o4711, uid=7, gid=8, size=2, modified=5_000_000_000)
    filetree.change(root, "/etc/file", wanted, follow=True, ids=IDS)
    status = (tree / "etc/file").stat()
    assert (stat.S_IMODE(status.st_mode), IDS.inside(status), status.st_size) == (0o4711, (7, 8), 2)
    assert status.st_mtime_ns == 5_000_000_000
    filetree.change(root, "/out", Wanted(uid=9), follow=False, ids=IDS)
    assert IDS.inside((tree / "out").lstat())[0] == 9
    for path, nonsense in (("/out", Wanted(mode=0o600)), ("/etc", Wanted(size=1)), ("/etc", Wanted(uid=1 << 20))):
        with pytest.raises(BadRequest):
            filetree.change(root, path, nonsense, follow=False, ids=IDS)


@pytest.mark.parametrize("target", ["", "a\0b", "n" * 5000])
def test_what_no_link_can_point_at(root: int, tree: Path, target: str) -> None:
    with pytest.raises(BadRequest):
        filetree.make_link(root, "/link", target, hard=False, uid=0, gid=0, ids=IDS)
    assert not os.path.lexists(tree / "link")


def test_rename(root: int, tree: Path) -> None:
    (tree / "other").write_text("other")
    with pytest.raises(WrongState, match="there already"):
        filetree.rename(root, "/etc/file", "/other", replace=False)
    filetree.rename(root, "/other", "/other", replace=False)
    filetree.rename(root, "/etc/file", "/other", replace=True)
    assert (tree / "other").read_text() == "inside"
    with pytest.raises(BadRequest, match="part of itself"):
        filetree.rename(root, "/etc", "/etc/below", replace=True)
    for path in ("/etc/file", "/"):
        with pytest.raises((NotFound, BadRequest)):
            filetree.rename(root, path, "/new", replace=True)


def test_a_tree_as_deep_as_it_may_be_and_one_deeper(root: int, tree: Path) -> None:
    path = "/" + "/".join(["d"] * DEEPEST)
    filetree.make_directory(root, path, parents=True, mode=0o755, uid=0, gid=0, ids=IDS)
    filetree.make_directory(root, f"{path}/e", parents=False, mode=0o755, uid=0, gid=0, ids=IDS)
    with pytest.raises(WrongState, match="nests more"):
        filetree.remove(root, "/d", "tree")
    with pytest.raises(WrongState, match="nests more"):
        list(archive(root, "/d", ids=IDS, count=Count()))
    filetree.remove(root, f"{path}/e", "directory")
    filetree.remove(root, "/d", "tree")
    assert not (tree / "d").exists()


# --- files held open


def test_an_open_file_stays_the_same_file(root: int, tree: Path) -> None:
    file = HeldFile(root, "/etc/file", Manner(write=True), IDS)
    filetree.rename(root, "/etc/file", "/moved", replace=True)
    file.write(3, b"IDE, and more")
    assert (file.read(0, 100), file.read(3, 3), file.read(99, 1)) == (b"insIDE, and more", b"IDE", b"")
    file.change(Wanted(size=6, mode=0o600))
    assert (file.status().st_size, (tree / "moved").read_text()) == (6, "insIDE")
    file.sync()
    file.close()


def test_how_a_file_is_opened(root: int, tree: Path) -> None:
    mine = Owner(0o640, IDS.uid(1), IDS.gid(2))
    file = HeldFile(root, "/etc/new", Manner(write=True, append=True, create=mine, exclusive=True), IDS)
    file.write(0, b"one")
    file.write(0, b"two")
    file.close()
    status = (tree / "etc/new").stat()
    assert (IDS.inside(status), stat.S_IMODE(status.st_mode)) == ((1, 2), 0o640)
    assert (tree / "etc/new").read_text() == "onetwo"
    HeldFile(root, "/etc/new", Manner(write=True, create=mine, truncate=True), IDS).close()
    assert (tree / "etc/new").read_text() == ""
    os.mkfifo(tree / "fifo")
    for path, manner, said in (
        ("/etc/new", Manner(write=True, create=mine, exclusive=True), "there already"),
        ("/fifo", Manner(), "a fifo"),
        ("/etc", Manner(), "a directory"),
        ("/etc/new", Manner(truncate=True), "not opened for writing"),
    ):
        with pytest.raises(BadRequest, match=said):
            HeldFile(root, path, manner, IDS)
    reading = HeldFile(root, "/etc/new", Manner(), IDS)
    with pytest.raises(WrongState, match="not opened for that"):
        reading.write(0, b"x")
    reading.close()


# --- trees


def test_what_an_archive_holds_and_what_it_leaves_out(root: int, tree: Path) -> None:
    os.mkfifo(tree / "etc/fifo")
    os.link(tree / "etc/file", tree / "etc/same")
    (tree / "etc/sub").mkdir(mode=0o711)
    os.chown(tree / "etc/sub", IDS.uid(5), 4711)
    found = archived(root, "/")
    assert set(found) == {".", "absolute", "etc", "etc/file", "etc/same", "etc/sub", "out"}
    assert (found["etc/same"].islnk(), found["etc/same"].linkname) == (True, "etc/file")
    sub = found["etc/sub"]
    assert (sub.isdir(), sub.mode, sub.uid, sub.gid) == (True, 0o711, 5, 65534)


@pytest.mark.parametrize(
    "hostile",
    [
        [member("../file")],
        [member("/etc/../../outside/file")],
        [member("a", tarfile.SYMTYPE, "../outside"), member("a/../../outside/file")],
        [member("same", tarfile.LNKTYPE, "../../outside/file")],
        [member("null", tarfile.CHRTYPE)],
    ],
    ids=["up", "absolute", "through", "hard link", "device"],
)
def test_an_archive_that_leads_out_is_refused(root: int, hostile: list[tarfile.TarInfo]) -> None:
    with pytest.raises(BadRequest, match="the archive holds"):
        unpack(root, "/etc", iter([packed(*hostile)]), ids=IDS, owners=False, count=Count())


def test_an_archive_through_its_own_links_stays_inside(root: int, tree: Path) -> None:
    """As one that a process of the container had unpacked: the root's own path `/outside` is meant."""
    content = packed(member("a", tarfile.SYMTYPE, "../../outside"), member("a/file"))
    with pytest.raises(NotFound):
        unpack(root, "/etc", iter([content]), ids=IDS, owners=False, count=Count())
    (tree / "outside").mkdir()
    unpack(root, "/etc", iter([content]), ids=IDS, owners=True, count=Count())
    assert (tree / "outside/file").read_text() == "x"


def test_an_archive_that_is_damaged_or_cut_short(root: int, tree: Path) -> None:
    content = packed(member("first"), member("second"))
    for broken in (content[:700], b"nonsense" * 100):
        with pytest.raises(BadRequest, match="the archive"):
            unpack(root, "/new", iter([broken]), ids=IDS, owners=False, count=Count())
    count = Count()
    unpack(root, "/new", iter([content[:100], content[100:]]), ids=IDS, owners=False, count=count)
    assert (count, sorted(os.listdir(tree / "new"))) == (Count(2, 2), ["first", "second"])
