"""`pytest_tf.container(...)` and `pytest_tf.volume(...)`: fixtures, made by a call and assigned in a conftest or a test
module. The variable's name is the fixture's name.

Knows pytest's fixtures and the specs; what a container is made with is `boot.py`'s.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tf.preparation import Prepare
from pytest_tf.specs import ContainerSpec, Files, VolumeSpec, Where, wrong

if TYPE_CHECKING:
    from tfcore.wire.containers import Probe

Scope = Any
"""One of pytest's scopes, or a function that returns one (pytest: dynamic scope)."""


def container(
    image: str,
    *,
    env: Mapping[str, Any] | None = None,
    volumes: Mapping[str, Any] | None = None,
    pre_boot_files: Files | None = None,
    command: Sequence[str] | None = None,
    entrypoint: Sequence[str] | None = None,
    user: str = "",
    workdir: str = "",
    memory: int | str | None = None,
    cpus: float | None = None,
    pids: int | None = None,
    ready: Probe | None = None,
    before_snapshot: str = "",
    after_boot: str = "",
    clean_stop: bool = False,
    always_roll_back: bool = False,
    connects: Sequence[Any] = (),
    isolate: str = "",
    prepare: Prepare | Sequence[Prepare] = (),
    inputs: Sequence[str] = (),
    timeout: float = 60.0,
    scope: Scope = "session",
) -> Any:
    """A fixture that is a running, ready container; each test that uses it starts at its baseline.

    In `image` and in the values of `env` and `pre_boot_files`, `{fixture.attribute}` stands for another fixture's
    attribute, e.g. `"{db.ip}"`; that fixture is set up first.

    The fixture has a decorator, `@db.baseline` or `@db.baseline(inputs=[...])`, for a function that is to be
    one more of `prepare`.

    Args:
        image: a name such as `nginx`, `oci:DIR[:TAG]`, `docker-archive:FILE`, `rootfs:TAR`, or `.` for the newest
            local build.
        env: over the image's own.
        volumes: {path in the container: a fixture made by `pytest_tf.volume`, or its name}.
        pre_boot_files: {path: content} written before the first process, or a function of the request that returns it.
        command: instead of the image's Cmd. entrypoint: instead of its Entrypoint.
        user, workdir: instead of the image's.
        memory: bytes, or "512m". cpus: cores, e.g. 1.5. pids: most processes.
        ready: a probe of `pytest_tf.ready`; default: the image's Healthcheck, else its first exposed port.
        before_snapshot: command run in it before its baseline is taken, so that memory reaches the disk.
        after_boot: command run in it after each boot, rollbacks included, before it counts as ready.
        clean_stop: stop the service while its baseline is taken; it boots quicker from there.
        always_roll_back: also after a test that has left no trace in it: for a service that changes its memory by itself.
        connects: fixtures of containers (or their names) it may talk to, and they to it; they are ready before it boots.
        isolate: "test", "class", "module", "session" or "none": after what it is rolled back; default: the session's.
        prepare: a function of the container, or several: run once it is ready, before its baseline is taken. What they
            made is kept at the location, and the next run's container starts from it as long as image, arguments, the
            functions' code and `inputs` are the same.
        inputs: glob patterns of files these functions read, relative to the file the factory is called in.
        timeout: seconds it may take to be ready.
        scope: the fixture's.

    Raises:
        pytest.UsageError: an argument that cannot be used; the message names the line.
    """
    caller = sys._getframe(1)
    where = Where.of(caller)
    spec = ContainerSpec(
        where=where,
        image=image,
        env=env if env is not None else {},
        volumes={path: _name(where, caller.f_globals, volume) for path, volume in _pairs(where, volumes)},
        pre_boot_files=pre_boot_files if pre_boot_files is not None else {},
        command=command,
        entrypoint=entrypoint,
        user=user,
        workdir=workdir,
        memory=memory,
        cpus=cpus,
        pids=pids,
        ready=ready,
        before_snapshot=before_snapshot,
        after_boot=after_boot,
        clean_stop=clean_stop,
        always_roll_back=always_roll_back,
        connects=tuple(_name(where, caller.f_globals, other) for other in connects),
        isolate=isolate,
        timeout=timeout,
    )
    baseline = _Baseline(spec)
    for function in [prepare] if callable(prepare) else prepare:
        baseline.add(function, inputs)
    made = _fixture(_container_of(spec), spec, spec.needs, scope, f"A container of {image}, at its baseline.")
    made.baseline = baseline
    return made


class _Baseline:
    """`@db.baseline`: the function below it prepares the container; it stays a plain function."""

    def __init__(self, spec: ContainerSpec) -> None:
        self._spec = spec

    def __call__(self, function: Prepare | None = None, *, inputs: Sequence[str] = ()) -> Any:
        """As a decorator, with or without `inputs`.

        Raises:
            pytest.UsageError: it cannot prepare a container; the message names the factory's line.
        """
        return partial(self.add, inputs=inputs) if function is None else self.add(function, inputs)

    def add(self, function: Prepare, inputs: Sequence[str]) -> Prepare:
        """One more function that prepares the container; errors as above."""
        try:
            self._spec.preparation.add(function, inputs, Path(self._spec.where.file).parent)
        except ValueError as error:
            raise wrong(self._spec, str(error)) from None
        return function


def volume(*, tag: str = "", scope: Scope = "session") -> Any:
    """A fixture that is a volume, for `container(volumes={path: ...})`.

    Args:
        tag: without one the volume goes with its fixture and rolls back with the container that mounts it; with one it
            belongs to the account, is found again by the next session, and is never rolled back by a test.
        scope: the fixture's.

    Raises:
        pytest.UsageError: the tag cannot be one.
    """
    from tfcore.errors import BadTag
    from tfcore.tags import check_tag

    where = Where.of(sys._getframe(1))
    try:
        spec = VolumeSpec(where, check_tag(tag))
    except BadTag as error:
        raise wrong(where, str(error)) from None
    return _fixture(_volume_of(spec), spec, (), scope, f"A volume{f', {tag}' if tag else ''}.")


# A function of one line each: after `_fixture` has moved it to the factory's call, every frame of it is the user's line.


def _container_of(spec: ContainerSpec) -> Callable[..., Any]:
    from pytest_tf.boot import container_for

    return lambda **values: (yield from container_for(values.pop("request"), spec, values))


def _volume_of(spec: VolumeSpec) -> Callable[..., Any]:
    from pytest_tf.boot import volume_for

    return lambda **values: (yield from volume_for(values.pop("request"), spec))


def _fixture(
    function: Any, spec: ContainerSpec | VolumeSpec, needs: tuple[str, ...], scope: Scope, documentation: str
) -> Any:
    """`function` as a fixture that asks for `needs` and lives where the factory was called: so pytest's own messages
    and `--fixtures` name the user's line."""
    names = ("request", "tf_location", *needs)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    function.__code__ = function.__code__.replace(co_filename=spec.where.file, co_firstlineno=spec.where.line)
    function.__module__ = spec.where.module
    function.__doc__ = documentation
    function.tf_spec = spec
    return pytest.fixture(scope=scope)(function)


def _pairs(where: Where, volumes: Mapping[str, Any] | None) -> Sequence[tuple[str, Any]]:
    if volumes is None:
        return ()
    if not isinstance(volumes, Mapping):
        raise wrong(where, f"volumes={volumes!r}: give a dict {{path: volume fixture}}")
    return list(volumes.items())


def _name(where: Where, names: Mapping[str, Any], fixture: Any) -> str:
    """The name of a fixture, which may be given by the object a factory returned: the name it was assigned to."""
    if isinstance(fixture, str):
        return fixture
    for name, value in names.items():
        if value is fixture:
            return name
    raise wrong(where, f"{fixture!r} is not a fixture of this module: assign it first, or give the fixture's name")
