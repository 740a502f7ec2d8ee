"""What a file says of itself (PEP 723), and what is wished of pip for it."""

from __future__ import annotations

import sys

import pytest

from tfcore.errors import BadRequest
from tfnz.functions.errors import RemoteError, raised_there
from tfnz.functions.metadata import Metadata, fits, images, metadata
from tfnz.functions.packages import Target
from tfnz.functions.values import encode

BLOCK = """#!/usr/bin/env python
# /// script
# requires-python = ">=3.9"
# dependencies = [
#   "requests<3",
#
#   "rich",
# ]
# [tool.tf]
# image = "python:3.12"
# include = ["data/*.csv"]
# ///
import requests
"""


def test_a_block_is_read() -> None:
    assert metadata(BLOCK, "x.py") == Metadata(("requests<3", "rich"), ">=3.9", "python:3.12", ("data/*.csv",))
    assert metadata("import os\n", "x.py") == Metadata()


@pytest.mark.parametrize(
    "lines",
    [
        'dependencies = "requests"',
        "dependencies = [1]",
        'dependencies = ["not a requirement!"]',
        'requires-python = "three"',
        "requires-python = 3",
        "nonsense",
        "[tool.tf]\n# image = 1",
    ],
)
def test_a_wrong_block_is_refused_with_the_file_s_name(lines: str) -> None:
    with pytest.raises(BadRequest, match=r"x\.py"):
        metadata(f"# /// script\n# {lines}\n# ///\n", "x.py")


def test_two_blocks_are_refused() -> None:
    with pytest.raises(BadRequest, match="2 script blocks"):
        metadata(f"{BLOCK}\n{BLOCK}", "x.py")


def test_the_image_is_of_our_own_python_if_that_fits() -> None:
    own = sys.version_info.minor
    assert images("") == [f"python:3.{own}-slim", f"python:3.{own}"]
    assert images(">=3.9,<3.11") == ["python:3.10-slim", "python:3.10"]
    assert images(">=3.12.4,<3.13")[0] == "python:3.12-slim"
    with pytest.raises(BadRequest, match="fits none"):
        images("<3")
    assert fits(">=3.9", "3.13.0rc1")
    assert not fits("<3.9", "3.13.0")


def test_wheels_for_the_image_s_machine_are_asked_for_best_first() -> None:
    glibc = Target("3.11.2", "x86_64", "glibc", (2, 17)).platforms
    assert glibc[:3] == ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_16_x86_64"]
    assert glibc[-3:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    assert Target("3.11.2", "aarch64", "musl", (1, 2)).platforms == [
        "musllinux_1_2_aarch64", "musllinux_1_1_aarch64", "linux_aarch64",
    ]  # fmt: skip


def test_python_s_own_exceptions_are_made_anew_and_others_are_told() -> None:
    key = raised_there({"type": "KeyError", "text": "'q'", "args": encode(["q"]), "traceback": "Traceback: there\n"})
    assert type(key) is KeyError
    assert key.args == ("q",)
    assert key.__notes__ == ["in the container:\nTraceback: there"]
    other = raised_there({"type": "shop.Closed", "text": "until nine", "args": encode(["until nine"]), "traceback": ""})
    assert isinstance(other, RemoteError)
    assert (other.type_name, str(other)) == ("shop.Closed", "shop.Closed: until nine")


@pytest.mark.parametrize(
    "name", ["SystemExit", "KeyboardInterrupt", "eval", "open", "__import__", "ExceptionGroup", "nope"]
)
def test_nothing_but_an_exception_is_ever_made(name: str) -> None:
    assert isinstance(raised_there({"type": name, "text": "x", "args": encode(["x"])}), RemoteError)
