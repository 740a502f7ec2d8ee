"""Deleting what containers leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfnode.storage.removal import remove_tree
from tfnode.testing import play

DEPTH = 2500


def test_one_of_everything(tmp_path: Path) -> None:
    play.furnish(tmp_path / "top")
    remove_tree(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []


def test_deeper_than_any_path_with_files_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    here = os.open(tmp_path / "top", os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=here)
        os.mkdir("e", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(here)
        here = below
    os.close(here)
    remove_tree(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []


def test_links_out_are_deleted_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "top").mkdir()
    (tmp_path / "top/link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "top")
    assert (tmp_path / "kept/file").exists()
    (tmp_path / "top").symlink_to(tmp_path / "kept")
    with pytest.raises(OSError, match="Not a directory"):
        remove_tree(tmp_path / "top")
    assert (tmp_path / "kept/file").exists()


def test_nothing_there_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")


def test_several_threads_at_the_same_tree(tmp_path: Path) -> None:
    for number in range(20):
        play.furnish(tmp_path / "top" / str(number))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: remove_tree(tmp_path / "top"), range(4)))
    assert not (tmp_path / "top").exists()
    assert [path for path in tmp_path.iterdir() if not path.name.startswith("hoisted.")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming an ordinary user takes root")
def test_an_ordinary_user_deletes_what_he_locked(tmp_path: Path) -> None:
    """Without root, a directory's own mode is in the way of emptying and of moving it."""
    program = (
        "import os, sys; from pathlib import Path; from tfnode.storage.removal import remove_tree\n"
        "top = Path(sys.argv[1]); (top / 'top/a/b/c').mkdir(parents=True); (top / 'top/a/b/c/file').touch()\n"
        "for path in ('top/a/b/c', 'top/a/b', 'top/a', 'top'): (top / path).chmod(0o500 if path != 'top/a' else 0)\n"
        "remove_tree(top / 'top'); print(os.geteuid(), os.listdir(top))\n"
    )
    nobody = 65534
    os.chown(tmp_path, nobody, nobody)
    python = [sys.executable, "-c", program, "."]
    drop = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
    if subprocess.run([*drop, sys.executable, "-c", "import tfnode"], capture_output=True, check=False).returncode:
        pytest.skip("an ordinary user cannot read this installation")
    done = subprocess.run([*drop, *python], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{nobody} []\n", "")
