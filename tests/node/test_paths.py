"""Paths inside a root: whatever links are in there, nothing outside is reached."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfnode.kernel import paths


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with links that try to leave it, and a secret beside it."""
    (tmp_path / "secret").write_text("outside")
    inside = tmp_path / "root"
    (inside / "etc").mkdir(parents=True)
    (inside / "etc/passwd").write_text("inside")
    (inside / "absolute").symlink_to("/etc/passwd")
    (inside / "upwards").symlink_to("../../../../../../../secret")
    (inside / "loop").symlink_to("loop")
    (inside / "dir").symlink_to("/etc")
    return inside


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    fd = paths.open_root(tree)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    "path", ["etc/passwd", "/etc/passwd", "absolute", "dir/passwd", "../../etc/passwd", "/dir/../etc/passwd"]
)
def test_every_way_to_a_file_inside_reads_the_file_inside(root: int, path: str) -> None:
    assert paths.read_in_root(root, path, 100) == b"inside"


@pytest.mark.parametrize("path", ["upwards", "/../secret", "dir/../../secret", "etc/../../../secret"])
def test_what_lies_outside_is_not_found(root: int, path: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        paths.read_in_root(root, path, 100)
    assert caught.value.filename == path


def test_a_link_to_itself_is_an_error_and_not_an_endless_walk(root: int) -> None:
    with pytest.raises(OSError, match="loop") as caught:
        paths.open_in_root(root, "loop", os.O_RDONLY)
    assert caught.value.errno == errno.ELOOP


def test_magic_links_of_proc_are_refused() -> None:
    root = paths.open_root("/")
    try:
        with pytest.raises(OSError, match="proc/self/root") as caught:
            paths.open_in_root(root, "/proc/self/root/etc/passwd", os.O_RDONLY)
    finally:
        os.close(root)
    assert caught.value.errno == errno.ELOOP


def test_a_file_is_created_with_its_mode(root: int, tree: Path) -> None:
    os.close(paths.open_in_root(root, "/dir/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    assert (tree / "etc/new").stat().st_mode & 0o777 == 0o600


def test_a_fifo_is_refused_at_once(root: int, tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        paths.read_in_root(root, "fifo", 100)


def test_a_file_over_the_limit_is_refused(root: int) -> None:
    with pytest.raises(OSError, match="more than 5 bytes"):
        paths.read_in_root(root, "etc/passwd", 5)


@pytest.mark.parametrize(
    ("path", "real"), [("/", "/"), ("absolute", "/etc/passwd"), ("dir/.", "/etc"), ("dir/../etc", "/etc")]
)
def test_resolve_says_where_a_path_leads(root: int, path: str, real: str) -> None:
    assert paths.resolve(root, path) == real


def test_resolve_of_something_missing_is_an_error(root: int) -> None:
    with pytest.raises(FileNotFoundError):
        paths.resolve(root, "upwards")


def test_parent_keeps_the_last_name_unresolved(root: int, tree: Path) -> None:
    with paths.open_parent(root, "/dir/../upwards/") as (parent, name):
        os.unlink(name, dir_fd=parent)
    assert not (tree / "upwards").is_symlink()


@pytest.mark.parametrize("path", ["/", "", "etc/..", "."])
def test_a_path_without_last_name_has_no_parent(root: int, path: str) -> None:
    with pytest.raises(OSError, match="names no file"), paths.open_parent(root, path):
        pass


def test_missing_directories_are_made_inside(root: int, tree: Path) -> None:
    old = os.umask(0o077)
    try:
        os.close(paths.make_directories(root, "dir/a/b", mode=0o751, uid=os.getuid(), gid=os.getgid()))
    finally:
        os.umask(old)
    assert (tree / "etc/a/b").stat().st_mode & 0o7777 == 0o751


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_made_directories_belong_to_the_owner_asked_for_and_old_ones_keep_theirs(root: int, tree: Path) -> None:
    os.close(paths.make_directories(root, "/etc/app/data", uid=100_033, gid=100_044))
    made = (tree / "etc/app").stat()
    assert (made.st_uid, made.st_gid) == (100_033, 100_044)
    assert (tree / "etc").stat().st_uid == 0


def test_a_file_on_the_way_is_no_directory(root: int) -> None:
    with pytest.raises(NotADirectoryError):
        paths.make_directories(root, "absolute/below", uid=os.getuid(), gid=os.getgid())


def test_directories_are_not_made_through_a_dangling_link(root: int, tree: Path) -> None:
    with pytest.raises(FileNotFoundError):
        paths.make_directories(root, "upwards/below", uid=os.getuid(), gid=os.getgid())
    assert not (tree.parent / "secret").is_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change its root directory")
def test_a_process_root_is_that_process_own(tree: Path) -> None:
    program = "import os, sys; os.chroot(sys.argv[1]); print('there', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", program, str(tree)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        root = paths.open_process_root(process.pid)
        try:
            assert paths.read_in_root(root, "dir/passwd", 100) == b"inside"
            assert paths.resolve(root, "dir/passwd") == "/etc/passwd"
        finally:
            os.close(root)
