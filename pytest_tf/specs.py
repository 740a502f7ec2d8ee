"""What a container or a volume of a suite is to be: checked when a factory or a marker is read, filled in when it boots.

Errors here are the conftest author's: each is a `pytest.UsageError` that names the factory's line. Knows the SDK only by
the names of `spawn_container`'s arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import FrameType
from typing import Any

import pytest

from pytest_tf import interpolation
from pytest_tf.options import ISOLATE
from pytest_tf.preparation import Preparation

Files = Mapping[str, Any] | Callable[[pytest.FixtureRequest], Mapping[str, Any]]


@dataclass(frozen=True)
class Where:
    """The line a factory or a marker stands on.

    Attributes:
        file: its file, or a word for where it is if it is in none.
        line: counted from 1; 0 for none.
        module: the module's name, for `pytest --fixtures`.
    """

    file: str
    line: int = 0
    module: str = ""

    @classmethod
    def of(cls, frame: FrameType) -> Where:
        """Where a frame is."""
        return cls(frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", ""))

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class VolumeSpec:
    """A volume: of the session, or with a tag the account's, which stays."""

    where: Where = field(compare=False)
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """A container: what `spawn_container` is to be given, and how the plugin treats it.

    Attributes:
        where: the line it was written on.
        volumes: path in the container → name of the volume's fixture.
        connects: names of the fixtures of containers it may talk to.
        isolate: one of `ISOLATE`, or "" for the session's default.
        timeout: seconds it may take to be ready.
        preparation: what makes it the suite's; added to by `@fixture.baseline` after the spec was made.
        The others are as in `tfnz.Node.spawn_container`.
    """

    where: Where = field(compare=False)
    image: str
    env: Mapping[str, Any] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    pre_boot_files: Files = field(default_factory=dict)
    command: Sequence[str] | None = None
    entrypoint: Sequence[str] | None = None
    user: str = ""
    workdir: str = ""
    memory: int | str | None = None
    cpus: float | None = None
    pids: int | None = None
    ready: Any = None
    before_snapshot: str = ""
    after_boot: str = ""
    clean_stop: bool = False
    always_roll_back: bool = False
    connects: tuple[str, ...] = ()
    isolate: str = ""
    timeout: float = 60.0
    preparation: Preparation = field(default_factory=Preparation)

    def __post_init__(self) -> None:
        for check in (_check_image, _check_mappings, _check_texts, _check_isolate, _check_by_sdk):
            check(self)

    @property
    def needs(self) -> tuple[str, ...]:
        """The fixtures it is made of, in the order they are mentioned."""
        found = [*interpolation.fixtures_in_reference(self.image), *self.volumes.values(), *self.connects]
        texts = [
            *self.env.values(),
            *(self.pre_boot_files.values() if isinstance(self.pre_boot_files, Mapping) else ()),
        ]
        found += [name for text in texts for name in interpolation.fixtures_in(text)]
        return tuple(dict.fromkeys(found))

    def wishes(self, values: Mapping[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
        """The arguments for `spawn_container`.

        Args:
            values: of the fixtures in `needs`, by name.
            request: handed to `pre_boot_files` if that is a function.

        Raises:
            LookupError: a `{fixture.attribute}` that does not exist.
        """
        wishes = {name: getattr(self, name) for name in _PLAIN if getattr(self, name) not in (None, "", False)}
        wishes["image"] = interpolation.fill_reference(self.image, values)
        wishes["env"] = {name: _filled(value, values) for name, value in self.env.items()}
        given = self.pre_boot_files(request) if callable(self.pre_boot_files) else self.pre_boot_files
        wishes["pre_boot_files"] = {path: _filled(content, values) for path, content in given.items()}
        wishes["volumes"] = {path: values[name] for path, name in self.volumes.items()}
        return wishes


_PLAIN = (
    "command", "entrypoint", "user", "workdir", "memory", "cpus", "pids",
    "ready", "before_snapshot", "after_boot", "clean_stop", "always_roll_back",
)  # fmt: skip
"""Passed on as they are."""

MARKED = tuple(f.name for f in fields(ContainerSpec) if f.name not in ("where", "volumes", "connects", "preparation"))
"""What the marker `tf` may say of the stock container."""


MADE = (*(name for name in MARKED if name not in ("image", "isolate")), "volumes", "connects")
"""What `make_container` takes besides the image."""


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    return interpolation.fill(value, values) if isinstance(value, str) else value


def wrong(spec: ContainerSpec | VolumeSpec | Where, message: str) -> pytest.UsageError:
    """The conftest author's error, with the line to look at."""
    where = spec if isinstance(spec, Where) else spec.where
    return pytest.UsageError(f"{where}: {message}")


def _check_image(spec: ContainerSpec) -> None:
    if not isinstance(spec.image, str) or not spec.image:
        raise wrong(spec, f"image={spec.image!r}: give a name such as 'nginx', oci:DIR[:TAG] or docker-archive:FILE")


def _check_mappings(spec: ContainerSpec) -> None:
    for name in ("env", "volumes"):
        if not isinstance(getattr(spec, name), Mapping):
            raise wrong(spec, f"{name}={getattr(spec, name)!r}: give a dict")
    if not isinstance(spec.pre_boot_files, Mapping) and not callable(spec.pre_boot_files):
        raise wrong(spec, "pre_boot_files: give a dict {path: content}, or a function of the request that returns one")


def _check_texts(spec: ContainerSpec) -> None:
    for name in ("before_snapshot", "after_boot", "user", "workdir"):
        if not isinstance(getattr(spec, name), str):
            raise wrong(spec, f"{name}={getattr(spec, name)!r}: give one string")
    if isinstance(spec.timeout, bool) or not isinstance(spec.timeout, int | float) or spec.timeout <= 0:
        raise wrong(spec, f"timeout={spec.timeout!r}: give seconds")


def _check_isolate(spec: ContainerSpec) -> None:
    if spec.isolate and spec.isolate not in ISOLATE:
        raise wrong(spec, f"isolate={spec.isolate!r}: choose one of {', '.join(ISOLATE)}")


def _check_by_sdk(spec: ContainerSpec) -> None:
    """The SDK's own checks of shapes, now rather than when the container boots."""
    from tfcore.errors import BadRequest
    from tfnz import arguments

    files = spec.pre_boot_files if isinstance(spec.pre_boot_files, Mapping) else {}
    try:
        arguments.environment(spec.env)
        arguments.files(files)
        arguments.words(spec.command, what="command")
        arguments.words(spec.entrypoint, what="entrypoint")
        arguments.size(spec.memory, what="memory")
        arguments.mounts_apart([arguments.inside(path) for path in spec.volumes])
    except BadRequest as error:
        raise wrong(spec, str(error)) from None
