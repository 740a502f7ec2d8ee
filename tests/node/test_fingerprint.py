"""Every change of a tree shows in its fingerprint; those that happen in the very tick of looking are told apart."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemons import until
from tfcore.errors import Exhausted
from tfnode.kernel.fingerprint import (
    DEEPEST,
    Fingerprint,
    contents,
    doors,
    fingerprint,
    first_difference,
    is_fresh,
    now,
)
from tfnode.testing import play

SEEDS = range(12)
MUTATIONS = 25


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    play.furnish(tmp_path / "tree")
    return tmp_path / "tree"


def taken(tree: Path, *, most: int = 20_000) -> Fingerprint:
    top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return fingerprint(top, most=most)
    finally:
        os.close(top)


def settled(tree: Path) -> Fingerprint:
    """As it is once the clock has moved past its last change."""
    until(lambda: not is_fresh(taken(tree), now()), "the clock to move")
    return taken(tree)


def digest(tree: Path, most: int = 1 << 20) -> bytes | None:
    top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return contents(top, most=most)
    finally:
        os.close(top)


# --- anything at all


def _files(tree: Path) -> list[Path]:
    return sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())


def _rewrite(path: Path, dice: random.Random) -> None:
    """As many bytes as there were, and the time it had before."""
    before = path.stat()
    path.write_bytes(dice.randbytes(before.st_size or 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _copy_over(path: Path, dice: random.Random) -> None:
    """Another file of that name, size, mode and time."""
    copy = path.with_name(f"{path.name}.copy{dice.random()}")
    shutil.copy2(path, copy)
    copy.rename(path)


def _map_and_write(path: Path, dice: random.Random) -> None:
    if not path.stat().st_size:
        path.write_bytes(b"something")
        return
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0] = dice.randrange(256)


def _touch_back(path: Path, dice: random.Random) -> None:
    os.utime(path, (1, dice.randrange(1 << 30)))


MUTANTS: dict[str, Callable[[Path, random.Random], None]] = {
    "rewritten": _rewrite,
    "replaced": _copy_over,
    "mapped": _map_and_write,
    "time set": _touch_back,
    "deleted": lambda path, _: path.unlink(),
    "renamed": lambda path, dice: path.rename(path.with_name(f"renamed{dice.random()}")),
    "renamed and back": lambda path, _: path.rename(path.with_name("x")) and path.with_name("x").rename(path),
    "linked": lambda path, dice: os.link(path, path.with_name(f"linked{dice.random()}")),
    "mode": lambda path, dice: path.chmod(dice.choice([0o600, 0o644, 0o4755])),
    "owner": lambda path, _: os.chown(path, os.getuid(), os.getgid()),
    "xattr": lambda path, dice: os.setxattr(path, "user.tf", dice.randbytes(8)),
    "made": lambda path, dice: path.with_name(f"made{dice.random()}").touch(),
    "directory": lambda path, dice: path.with_name(f"directory{dice.random()}").mkdir(),
    "symlink": lambda path, dice: path.with_name(f"symlink{dice.random()}").symlink_to("/nowhere"),
    "fifo": lambda path, dice: os.mkfifo(path.with_name(f"fifo{dice.random()}")),
    "hole": lambda path, dice: os.truncate(path, path.stat().st_size + dice.randrange(1, 9999)),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_any_mutation_is_noticed(tree: Path, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(MUTATIONS):
        before = settled(tree)
        name, mutate = dice.choice(list(MUTANTS.items()))
        victims = _files(tree)
        if not victims:
            return
        mutate(dice.choice(victims), dice)
        assert first_difference(before, taken(tree)), f"{name} was not noticed"


@pytest.mark.parametrize("spoiling", play.SPOILINGS)
def test_whatever_a_test_spoils_is_noticed(tree: Path, spoiling: str) -> None:
    before = settled(tree.parent)
    play.SPOILINGS[spoiling](tree)
    assert first_difference(before, taken(tree.parent))


# --- nothing at all


def test_reading_leaves_no_trace(tree: Path) -> None:
    before = settled(tree)
    for path in _files(tree):
        path.read_bytes()
    assert digest(tree, most=1 << 30)
    assert first_difference(before, taken(tree)) == ""


def test_what_differs_is_named(tree: Path) -> None:
    before = settled(tree)
    (tree / "deep").mkdir()
    (tree / "deep" / "new").touch()
    assert first_difference(before, taken(tree)) == "/deep/new"


# --- what stamps do not tell


def test_a_change_in_the_tick_of_looking_is_told_apart(tree: Path) -> None:
    """As a change of the same size may be repeated within the tick, it counts until the clock has moved."""
    settled(tree)
    began = now()
    (tree / "just-now").write_bytes(b"x")
    assert is_fresh(taken(tree), began)
    until(lambda: not is_fresh(taken(tree), now()), "the clock to move")


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """On a tmpfs only the first write through a mapping is stamped: its pages are never written back."""
    place = Path(f"/dev/shm/tf-fingerprint-{os.getpid()}")
    place.mkdir()
    yield place
    shutil.rmtree(place)


def test_memory_that_is_mapped_changes_without_a_stamp_but_not_without_a_digest(in_memory: Path) -> None:
    (in_memory / "segment").write_bytes(b"before")
    with (in_memory / "segment").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:] = b"by now"
        stamps, before = settled(in_memory), digest(in_memory)
        mapped[:] = b"after "
        assert taken(in_memory) == stamps, "stamps have come to tell it: then they could be relied on"
        assert digest(in_memory) != before


def test_too_much_content_is_not_read(in_memory: Path) -> None:
    (in_memory / "big").touch()
    os.truncate(in_memory / "big", 1 << 21)
    assert digest(in_memory, most=1 << 20) is None
    assert digest(in_memory, most=1 << 22) is not None


def test_sockets_and_pipes_are_doors(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)  # a socket's path has room for 107 bytes
    known = set(doors(taken(tree)))
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("a-socket")
    os.mkfifo(tree / "a-pipe")
    assert set(doors(taken(tree))) - known == {"/a-socket", "/a-pipe"}


# --- what may be in there


def test_links_lead_nowhere(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").touch()
    (tree / "way-out").symlink_to(tmp_path / "outside")
    assert not any("secret" in path for path in taken(tree))


def test_a_tree_that_is_too_big_or_too_deep_is_refused(tree: Path) -> None:
    with pytest.raises(Exhausted, match="more than 3 entries"):
        taken(tree, most=3)
    deep = tree
    for _ in range(DEEPEST + 1):
        deep /= "d"
        deep.mkdir()
    with pytest.raises(Exhausted, match="below each other"):
        taken(tree)


def test_time_runs_as_stamps_have_it(tmp_path: Path) -> None:
    before = now()
    until(lambda: now() > before, "a tick")
    (tmp_path / "x").touch()
    assert before < (tmp_path / "x").stat().st_ctime_ns <= time.time_ns()
