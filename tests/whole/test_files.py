"""Files of containers by the SDK's calls: large ones, trees, single acts, in running and sleeping containers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.line import private_location, said, session_at, sleeper
from tfcore.errors import BadRequest, NotFound, Unavailable, WrongState
from tfcore.wire import files as verbs
from tfcore.wire.containers import PutFile
from tfnz.container import Container
from tfnz.location import Location
from tfnz.moving import Moving

MEGABYTE = 1 << 20
pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """One private location for all tests here."""
    with private_location() as made:
        yield made


@pytest.fixture(scope="module")
def session(place: PrivateLocation) -> Iterator[Location]:
    with session_at(place) as made:
        yield made


@pytest.fixture(scope="module")
def box(session: Location, tiny: str) -> Container:
    """A container; each test has a directory of its own in it."""
    return sleeper(session, tiny)


def names(container: Container, path: str) -> list[str]:
    return [info.name for info in container.list(path)]


def shown(top: Path) -> dict[str, object]:
    """What is in a directory of this machine: by name, a link's target, a file's mode and content, a directory's mode."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[str(path.relative_to(top))] = os.readlink(path)
        else:
            found[str(path.relative_to(top))] = (mode, path.read_bytes() if path.is_file() else None)
    return found


# whole files


def test_a_large_file_goes_in_and_comes_out_and_tells_how_far_it_is(box: Container, tmp_path: Path) -> None:
    content = os.urandom(5 * MEGABYTE + 17)
    source = tmp_path / "source"
    source.write_bytes(content)
    told: list[tuple[str, int, int]] = []
    box.put_file(source, "/large/file", mode=0o640, progress=lambda *how: told.append(how))
    assert told[-1] == ("/large/file", len(content), len(content))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    told.clear()
    box.fetch_file("/large/file", tmp_path, progress=lambda *how: told.append(how))
    assert told[-1] == ("/large/file", len(content), len(content))
    assert (tmp_path / "file").read_bytes() == content
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    into = io.BytesIO()
    box.fetch_file("/large/file", into)
    assert into.getvalue() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "source"]


def test_put_takes_a_path_and_an_open_file(box: Container, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("by its path")
    box.put("/put/path", tmp_path / "x")
    box.put("/put/open", io.BytesIO(b"open"))
    box.put("/put/text", "/just/text")
    assert [box.fetch(f"/put/{name}") for name in ("path", "open", "text")] == [b"by its path", b"open", b"/just/text"]
    with pytest.raises(ValueError, match="neither text nor bytes"):
        box.put("/put/number", 7)  # type: ignore[arg-type]


def test_a_file_that_cannot_be_fetched_leaves_nothing_here(box: Container, tmp_path: Path) -> None:
    for path in ("/no/such", "/etc"):
        with pytest.raises((NotFound, BadRequest)):
            box.fetch_file(path, tmp_path / "here")
    assert not list(tmp_path.iterdir())


def test_clients_that_say_nothing_keep_nobody_else_waiting(box: Container) -> None:
    """Twice as many as the agent has threads for its disks."""
    with ExitStack() as open_:
        for number in range(32):
            moving = open_.enter_context(Moving(box, PutFile(path=f"/slow/{number}"), timeout=60))
            moving.write(b"the beginning")
        assert box.run_process("echo on time", timeout=30).stdout == b"on time\n"
        box.put("/slow/quick", b"", timeout=30)


def test_a_large_file_takes_no_memory_on_its_way(place: PrivateLocation, box: Container, tmp_path: Path) -> None:
    """Neither here nor at the agent; a hole is read as zeros."""
    size = 128 * MEGABYTE
    with open(tmp_path / "large", "wb") as large:
        large.truncate(size)
    before = [peak(pid) for pid in (os.getpid(), place.node.agent)]
    box.put_file(tmp_path / "large", "/hole")
    with open(os.devnull, "wb") as nowhere:
        told: list[int] = []
        box.fetch_file("/hole", nowhere, progress=lambda _, done, __: told.append(done))
    assert told[-1] == size
    grown = [peak(pid) - was for pid, was in zip((os.getpid(), place.node.agent), before, strict=True)]
    assert max(grown) < size // 4, grown
    box.remove("/hole")


def peak(pid: int) -> int:
    """The most memory a process has ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))


# trees


def test_a_tree_comes_back_as_it_went_in(box: Container, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a/b/c").mkdir(parents=True)
    (top / "empty").mkdir(mode=0o700)
    (top / "a/script").write_bytes(b"#!/bin/sh\n")
    (top / "a/script").chmod(0o755)
    (top / "a/b/large").write_bytes(os.urandom(MEGABYTE))
    (top / os.fsdecode(b"not \xff utf-8")).write_bytes(b"")
    (top / "a/b/c/up").symlink_to("../../script")
    (top / "a/b/loop").symlink_to("loop")
    os.link(top / "a/script", top / "a/same")
    told: list[int] = []
    box.put_tree(top, "/tree/in", progress=lambda _, done, __: told.append(done))
    assert told[-1] >= MEGABYTE
    assert said(box, "stat -c '%a %u %g' /tree/in/a/script /tree/in/empty").splitlines() == ["755 0 0", "700 0 0"]
    assert box.stat("/tree/in/a/script").modified == pytest.approx((top / "a/script").stat().st_mtime, abs=1e-5)
    box.fetch_tree("/tree/in", tmp_path / "back")
    assert shown(tmp_path / "back") == shown(top)
    assert (tmp_path / "back/a/b").stat().st_mode == (top / "a/b").stat().st_mode
    assert (tmp_path / "back/a/same").samefile(tmp_path / "back/a/script")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "top"]


def test_a_tree_goes_beside_what_is_there(box: Container, tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside/new").write_text("new")
    (tmp_path / "old").write_text("changed")
    (tmp_path / "link").symlink_to("old")
    box.put("/merge/old", "before")
    box.put("/merge/other", "stays")
    box.put("/merge/link", "becomes a link")
    box.chmod("/merge", 0o1777)
    box.put_tree(tmp_path, "/merge")
    assert names(box, "/merge") == ["beside", "link", "old", "other"]
    assert (box.fetch("/merge/old"), box.fetch("/merge/link"), box.stat("/merge").mode) == (
        b"changed",
        b"changed",
        0o1777,
    )
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="/merge/other"):
        box.put_tree(tmp_path, "/merge")


def test_a_hostile_tree_reaches_nothing_here(box: Container, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    target = tmp_path / "in/here"
    target.parent.mkdir()
    for number, link in enumerate(("/etc/passwd", "../secret", "a/../../secret", "../../secret")):
        directory = f"/hostile/{number}"
        box.mkdir(f"{directory}/a", parents=True)
        box.put(f"{directory}/file", "harmless")
        box.symlink(f"{directory}/out", link)
        box.symlink(f"{directory}/inner", "a")
        with pytest.raises(BadRequest, match="leads out of the tree"):
            box.fetch_tree(directory, target)
        assert all(path == target and not any(path.iterdir()) for path in target.parent.iterdir())
        box.fetch_tree(directory, target, skip_links_out=True)
        assert sorted(path.name for path in target.iterdir()) == ["a", "file", "inner"]
        with pytest.raises(WrongState, match="not an empty directory"):
            box.fetch_tree(directory, target)
        for path in (target / "inner", target / "file"):
            path.unlink()
        (target / "a").rmdir()  # an empty directory will do as well
    assert (tmp_path / "secret").read_text() == "outside"


def test_trees_that_are_none(box: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        box.put_tree(tmp_path / "file", "/none")
    with pytest.raises(FileNotFoundError):
        box.put_tree(tmp_path / "missing", "/none")
    with pytest.raises(NotFound):
        box.fetch_tree("/no/such", tmp_path / "x")
    with pytest.raises(BadRequest, match="directory"):
        box.fetch_tree("/etc/passwd", tmp_path / "x")
    with pytest.raises(WrongState, match="kernel"):
        box.fetch_tree("/proc", tmp_path / "x")
    assert not box.exists("/none")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# single acts


def test_what_is_there_and_what_is_done_with_it(box: Container) -> None:
    box.mkdir("/acts")
    box.put("/acts/file", "four", mode=0o604)
    box.symlink("/acts/link", "file")
    assert [(info.name, info.kind, info.size) for info in box.list("/acts/")] == [
        ("file", "file", 4),
        ("link", "link", 4),
    ]
    assert (box.stat("/acts/link").is_file(), box.lstat("/acts/link").target) == (True, "file")
    info = box.stat("/acts/file")
    assert (info.mode, info.uid, info.gid, info.path) == (0o604, 0, 0, "/acts/file")
    box.chown("/acts/link", 101, 500)
    assert said(box, "stat -c '%u %g' /acts/file") == "101 500"
    box.rename("/acts/file", "/acts/other")
    assert not box.exists("/acts/link")
    with pytest.raises(WrongState, match="not empty"):
        box.rmdir("/acts")
    with pytest.raises(WrongState, match="is there already"):
        box.rename("/acts/link", "/acts/other", replace=False)
    with pytest.raises(WrongState, match="is there already"):
        box.mkdir("/acts")
    box.mkdir("/acts/a/b", parents=True)
    box.mkdir("/acts/a/b", parents=True)
    with pytest.raises(BadRequest, match="is a directory"):
        box.remove("/acts/a")
    box.remove("/acts/a", tree=True)
    box.remove("/acts/link")
    box.remove("/acts/other")
    box.rmdir("/acts")
    for gone in (box.stat, box.lstat, box.list, box.remove, box.rmdir):
        with pytest.raises(NotFound, match="'/acts' is not in the container"):
            gone("/acts")
    assert {"bin", "etc", "proc"} <= set(names(box, "/"))
    assert box.stat("/").is_dir()


def test_a_directory_of_more_entries_than_one_answer_has(box: Container) -> None:
    said(box, "mkdir /many && cd /many && perl -e 'open F, \">$_\" for 1..2100'")
    assert sorted(names(box, "/many")) == sorted(str(number) for number in range(1, 2101))
    box.remove("/many", tree=True)
    assert not box.exists("/many")


def test_links_stay_inside_and_ways_out_are_refused(box: Container) -> None:
    box.mkdir("/inside")
    box.symlink("/inside/root", "/../../../..")
    assert names(box, "/inside/root") == names(box, "/")
    for act in (box.list, box.stat, box.remove, box.mkdir, box.rmdir, lambda path: box.rename("/etc", path)):
        with pytest.raises(ValueError, match=r"'\.\.' is not allowed"):
            act("/inside/../../etc")
        with pytest.raises(ValueError, match="not an absolute path"):
            act("etc")
    for act in (lambda path: box.put(path, b""), box.remove, box.mkdir):
        with pytest.raises(ValueError, match=r"kernel|protected"):
            act("/proc/sys/kernel/hostname")


def test_a_tree_is_not_removed_beyond_a_mount(session: Location, tiny: str) -> None:
    volume = session.node().create_volume()
    container = sleeper(session, tiny, volumes={"/data/kept": volume})
    container.put("/data/kept/file", "precious")
    with pytest.raises(WrongState, match="mounted"):
        container.remove("/data", tree=True)
    with pytest.raises(WrongState, match="mounted"):
        container.remove("/data/kept", tree=True)
    assert container.fetch("/data/kept/file") == b"precious"
    container.destroy()
    volume.destroy()


def test_what_is_done_to_files_is_undone_by_a_rollback(box: Container, tmp_path: Path) -> None:
    """Each by itself: the node must not take the container for untouched."""
    (tmp_path / "new").write_text("new")
    box.put("/undo/file", "as it was", mode=0o600)
    box.snapshot("undo")

    def written_to() -> None:
        with Held(box, verbs.OpenFile(path=b"/undo/file", write=True)) as held:
            held.write(0, b"changed!!")

    for act in (
        lambda: box.put_tree(tmp_path, "/undo"),
        lambda: box.rename("/undo/file", "/undo/moved"),
        lambda: box.remove("/undo/file"),
        lambda: box.mkdir("/undo/new"),
        lambda: box.chmod("/undo/file", 0o644),
        lambda: box.symlink("/undo/new", "file"),
        written_to,
    ):
        act()
        assert box.rollback("undo").tier != "clean"
        assert names(box, "/undo") == ["file"]
        assert (box.fetch("/undo/file"), box.stat("/undo/file").mode) == (b"as it was", 0o600)
    box.list("/undo")
    box.stat("/undo/file")
    box.fetch_tree("/undo", tmp_path / "looked at")
    with Held(box, verbs.OpenFile(path=b"/undo/file")) as held:
        assert held.read(3, 2) == b"it"
    assert box.rollback("undo").tier == "clean", "to look is no trace"


def test_a_file_held_open_ends_with_its_generation(box: Container) -> None:
    box.put("/held", "before")
    box.snapshot("held")
    with Held(box, verbs.OpenFile(path=b"/held", write=True)) as held:
        held.write(0, b"after!")
        assert held.read(0, 10) == b"after!"
        box.rollback("held")
        for use in (lambda: held.read(0, 10), lambda: held.write(0, b"x")):
            with pytest.raises(Unavailable, match="was reset"):
                use()
    assert box.fetch("/held") == b"before"


def test_operations_on_an_open_file_come_back_in_their_order(box: Container) -> None:
    """As many at once as an sftp client has under way, each of the largest size."""
    content = os.urandom(8 * MEGABYTE)

    async def play() -> bytes:
        file = await box._filing.open(verbs.OpenFile(path=b"/pieces", write=True, create=True))
        pieces = range(0, len(content), MEGABYTE)
        await asyncio.gather(*(file.write(start, content[start : start + MEGABYTE]) for start in reversed(pieces)))
        with pytest.raises(ValueError, match="malformed"):
            await file.change(verbs.Changes(size=1 << 63))
        read = await asyncio.gather(*(file.read(start, MEGABYTE) for start in pieces))
        await file.close()
        return b"".join(read)

    assert box.location._io.call(play()) == content
    assert box.fetch("/pieces") == content


class Held:
    """A file held open, driven from this thread."""

    def __init__(self, container: Container, request: verbs.OpenFile) -> None:
        self._io = container.location._io
        self._file = self._io.call(container._filing.open(request))

    def read(self, offset: int, size: int) -> bytes:
        return self._io.call(self._file.read(offset, size))

    def write(self, offset: int, data: bytes) -> None:
        self._io.call(self._file.write(offset, data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Unavailable):
            self._io.call(self._file.close())


def test_asleep_and_without_a_shell(session: Location, tiny: str, tmp_path: Path) -> None:
    container = session.node().spawn_container(tiny, command=["sleep", "infinity"], sleep=True).wait_until_ready()
    for shell in ("/bin/sh", "/bin/dash"):
        if container.exists(shell):
            container.remove(shell)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("asleep")
    container.put_tree(tmp_path / "in", "/srv/tree")
    container.fetch_tree("/srv/tree", tmp_path / "out")
    assert (tmp_path / "out/file").read_text() == "asleep"
    container.rename("/srv/tree/file", "/srv/moved")
    assert names(container, "/srv/tree") == []
    container.start()
    assert container.fetch("/srv/moved") == b"asleep"
    container.destroy()
