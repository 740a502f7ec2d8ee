"""What shall run: an image's config and a caller's wish put together as Docker does. Pure.

Sources: OCI image specification, config.md; Docker's reference for `docker run` ("Overriding image defaults").
"""

from __future__ import annotations

import posixpath
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from tfcore.errors import BadImage, BadRequest
from tfcore.images.description import ImageConfig
from tfnode.runtime.interface import Launch

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the caller wants instead of what the image says.

    Attributes:
        command: instead of Cmd; empty: the image's.
        entrypoint: instead of Entrypoint, and then the image's Cmd does not count either; None: the image's.
        env: (name, value) pairs over the image's.
        workdir: empty: the image's.
        user: empty: the image's.
    """

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    workdir: str = ""
    user: str = ""


def plan_launch(image: ImageConfig, wish: Wish) -> Launch:
    """The main process of a container of `image`.

    Raises:
        BadRequest: nothing to run; an environment name that is none; a zero byte somewhere.
        BadImage: a stop signal that does not exist.
    """
    return Launch(
        argv=checked_argv(_argv(image, wish)),
        env=_environment(image.env, wish.env),
        workdir=absolute(wish.workdir or image.working_dir),
        user=wish.user or image.user,
        stop_signal=signal_number(image.stop_signal or "SIGTERM"),
    )


def _argv(image: ImageConfig, wish: Wish) -> tuple[str, ...]:
    if wish.entrypoint is not None:
        return wish.entrypoint + wish.command
    return image.entrypoint + (wish.command or image.cmd)


def checked_argv(argv: tuple[str, ...]) -> tuple[str, ...]:
    """`argv`, if it can be run.

    Raises:
        BadRequest: it is empty, or there is a zero byte in it.
    """
    if not argv or not argv[0]:
        raise BadRequest("nothing to run: the image has no Entrypoint and no Cmd", hint="give a command")
    if any("\0" in word for word in argv):
        raise BadRequest("a command cannot have a zero byte in it")
    return argv


def _environment(lines: Iterable[str], pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """In the image's order, a later value in the place of the first. A line without "=" sets nothing."""
    env = {"PATH": DEFAULT_PATH}
    for line in lines:
        name, found, value = line.partition("=")
        if found and name:
            env[name] = value
    for name, value in pairs:
        env[name] = value
    return checked_env(env.items())


def checked_env(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """`pairs`, if they can be an environment.

    Raises:
        BadRequest: a name is empty or has "=" in it, or there is a zero byte somewhere.
    """
    env = tuple(pairs)
    for name, value in env:
        if not name or "=" in name or "\0" in name + value:
            raise BadRequest(f"{name!r} cannot be the name of an environment variable, or its value has a zero byte")
    return env


def absolute(workdir: str) -> str:
    """`workdir` from the root on, without `.` and `..` that lead above it.

    Raises:
        BadRequest: there is a zero byte in it.
    """
    if "\0" in workdir:
        raise BadRequest("a working directory cannot have a zero byte in it")
    return posixpath.normpath("/" + workdir.lstrip("/"))


def signal_number(name: str) -> int:
    """The number of a signal written as images do: SIGTERM, TERM, 15, SIGRTMIN+3, RTMAX-1.

    Raises:
        BadImage: no such signal.
    """
    text = name.strip().upper().removeprefix("SIG")
    if text.isdecimal():
        number = int(text)
    elif text.startswith(("RTMIN+", "RTMAX-")):
        number = _real_time(text)
    else:
        number = getattr(signal, f"SIG{text}", 0) if text.isalnum() else 0
    if not 0 < number <= signal.SIGRTMAX:
        raise BadImage(f"the image's stop signal {name!r} does not exist")
    return int(number)


def _real_time(text: str) -> int:
    step = text[6:]
    if not step.isdecimal():
        return 0
    number = signal.SIGRTMIN + int(step) if text.startswith("RTMIN") else signal.SIGRTMAX - int(step)
    return number if number >= signal.SIGRTMIN else 0
