"""Threads share the allocator's arenas, in a process of its own: arenas once made stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, sys, threading
from tfnode.allocator import share_arenas
if sys.argv[2] == "shared" and not share_arenas():
    sys.exit(3)
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.malloc_info.argtypes, libc.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
together = threading.Barrier(8)
def work():
    libc.malloc(5000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""


def arenas(path: Path, how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path), how], timeout=60, check=False)
    if done.returncode == 3:
        pytest.skip("this C library's allocator has no arenas")
    assert done.returncode == 0
    return path.read_text().count("<heap nr")


def test_threads_share(tmp_path: Path) -> None:
    assert arenas(tmp_path / "own", "own") > 2
    assert arenas(tmp_path / "shared", "shared") <= 2
