"""An image's config and a caller's wish, put together as Docker does."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tfcore.errors import BadImage, BadRequest
from tfcore.images.description import ImageConfig
from tfcore.images.platforms import Platform
from tfnode.runtime.launch import DEFAULT_PATH, Wish, absolute, plan_launch, signal_number


def image(**fields: Any) -> ImageConfig:
    return ImageConfig(
        **{"cmd": ("server",), "labels": {}, "platform": Platform("linux", "amd64"), "diff_ids": ()} | fields
    )


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "wish", "argv"),
    [
        ((), ("server", "-v"), Wish(), ("server", "-v")),
        (("run",), (), Wish(), ("run",)),
        (("run",), ("server",), Wish(), ("run", "server")),
        (("run",), ("server",), Wish(command=("other", "-x")), ("run", "other", "-x")),
        (("run",), ("server",), Wish(entrypoint=("sh",)), ("sh",)),
        (("run",), ("server",), Wish(entrypoint=("sh",), command=("-c", "true")), ("sh", "-c", "true")),
        (("run",), ("server",), Wish(entrypoint=(), command=("true",)), ("true",)),
    ],
)
def test_the_command_is_entrypoint_and_cmd(
    entrypoint: tuple[str, ...], cmd: tuple[str, ...], wish: Wish, argv: tuple[str, ...]
) -> None:
    assert plan_launch(image(entrypoint=entrypoint, cmd=cmd), wish).argv == argv


@pytest.mark.parametrize("wish", [Wish(), Wish(entrypoint=())])
def test_an_image_without_a_command_needs_one(wish: Wish) -> None:
    with pytest.raises(BadRequest, match="nothing to run") as caught:
        plan_launch(image(cmd=()), wish)
    assert caught.value.hint == "give a command"


def test_the_environment_keeps_the_images_order_and_takes_the_callers_values() -> None:
    env = plan_launch(image(env=("A=1", "B=x=y", "JUNK", "=none")), Wish(env=(("A", "2"), ("C", "")))).env
    assert env == (("PATH", DEFAULT_PATH), ("A", "2"), ("B", "x=y"), ("C", ""))


def test_the_images_own_path_counts() -> None:
    assert plan_launch(image(env=("PATH=/opt/bin",)), Wish()).env == (("PATH", "/opt/bin"),)


@pytest.mark.parametrize("pair", [("", "x"), ("A=B", "x"), ("A", "x\0y"), ("A\0", "x")])
def test_impossible_variables_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(BadRequest, match="environment variable"):
        plan_launch(image(), Wish(env=(pair,)))


def test_a_zero_byte_in_a_command_is_refused() -> None:
    with pytest.raises(BadRequest, match="zero byte"):
        plan_launch(image(), Wish(command=("a\0b",)))


def test_user_and_directory_are_the_callers_if_he_says_so() -> None:
    said = image(user="web", working_dir="/srv")
    assert (plan_launch(said, Wish()).user, plan_launch(said, Wish()).workdir) == ("web", "/srv")
    wished = plan_launch(said, Wish(user="root", workdir="data"))
    assert (wished.user, wished.workdir) == ("root", "/data")


@pytest.mark.parametrize(
    ("workdir", "path"),
    [
        ("", "/"),
        ("/", "/"),
        ("srv", "/srv"),
        ("/srv/", "/srv"),
        ("//srv", "/srv"),
        ("/a/../../b", "/b"),
        ("../..", "/"),
    ],
)
def test_working_directories_count_from_the_root(workdir: str, path: str) -> None:
    assert absolute(workdir) == path


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", signal.SIGTERM),
        ("quit", signal.SIGQUIT),
        ("15", 15),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
        ("SIGRTMIN", signal.SIGRTMIN),
    ],
)
def test_stop_signals_are_read_as_docker_writes_them(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize("name", ["", "SIGNOTHING", "0", "65", "-1", "SIGRTMIN+", "SIGRTMIN+x", "RTMIN+99", "_SETMASK"])
def test_stop_signals_that_do_not_exist_are_the_images_fault(name: str) -> None:
    with pytest.raises(BadImage, match="does not exist"):
        signal_number(name)


def test_an_image_without_a_stop_signal_is_stopped_with_sigterm() -> None:
    assert plan_launch(image(), Wish()).stop_signal == signal.SIGTERM
