"""What the runtime suites stand on: containers made of one root file system, talked to through their pipes, cleared away.

A test file of a runtime overrides three of the fixtures here; see `runtime_suite`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tfnode.cgroups import Group
from tfnode.images.shift import FIRST_ID
from tfnode.kernel.namespaces import make_sandbox_namespaces
from tfnode.process.userns import container_ids
from tfnode.runtime.interface import (
    Command,
    ContainerSpec,
    Exit,
    Launch,
    Process,
    Runtime,
    Sandbox,
    Stdio,
)
from tfnode.runtime.launch import DEFAULT_PATH
from tfnode.runtime.stdio import Pipes

SECONDS = 20.0
"""How long anything here may take; it takes milliseconds."""

IDS = container_ids(FIRST_ID)
ENV = (("PATH", DEFAULT_PATH), ("LC_ALL", "C"))
DOCKERS_CAPABILITIES = "00000000a80425fb"
FOREVER = ("sleep", "1000")


@dataclass
class Ends:
    """Our ends of a process's pipes, and how it ended."""

    pipes: Pipes
    told: list[Exit] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def ended(self, how: Exit) -> None:
        self.told.append(how)
        self.over.set()

    def say(self, data: bytes) -> None:
        """Write to its stdin."""
        assert self.pipes.stdin is not None
        os.write(self.pipes.stdin, data)

    def hang_up(self) -> None:
        """End its stdin."""
        os.close(self.pipes.take_stdin())

    def line(self) -> bytes:
        """The next line of its stdout."""
        line = b""
        while not line.endswith(b"\n"):
            byte = _read(self.pipes.stdout, 1)
            assert byte, f"stdout ended after {line!r}"
            line += byte
        return line

    def output(self) -> str:
        """All (the rest) of its stdout, to the end."""
        return _all_of(self.pipes.stdout)

    def complaints(self) -> str:
        """All of its stderr, to the end."""
        return _all_of(self.pipes.stderr)


def _read(fd: int | None, size: int) -> bytes:
    assert fd is not None
    os.set_blocking(fd, True)
    return os.read(fd, size)


def _all_of(fd: int | None) -> str:
    pieces = []
    while piece := _read(fd, 65536):
        pieces.append(piece)
    return b"".join(pieces).decode()


@dataclass(frozen=True)
class Ran:
    """What a command in a container did."""

    exit: Exit
    output: str
    complaints: str

    @property
    def words(self) -> str:
        """Its stdout, if it succeeded."""
        assert self.exit == Exit(code=0), self
        return self.output.strip()


class Playground:
    """Makes containers of one root file system and clears them away."""

    def __init__(self, runtime: Runtime, rootfs: Path, sandbox: Sandbox, group: Group) -> None:
        self.runtime = runtime
        self.template = ContainerSpec(id="", rootfs=rootfs, launch=Launch(FOREVER, ENV), sandbox=sandbox, group=group)
        self._made: list[tuple[str, Pipes]] = []

    def spec(self, name: str = "c1", *argv: str, **changes: object) -> ContainerSpec:
        """The spec of container `name`; `argv` and the fields of `Launch` and `ContainerSpec` as wanted."""
        launch_fields = {key: changes.pop(key) for key in ("env", "workdir", "user") if key in changes}
        launch = replace(self.template.launch, argv=argv or FOREVER, **launch_fields)  # type: ignore[arg-type]
        group = self.template.group.child(name)
        return replace(self.template, id=name, launch=launch, group=group, **changes)  # type: ignore[arg-type]

    def create(self, spec: ContainerSpec, stdio: Stdio | None = None) -> Ends:
        """A container, asleep; with these streams instead of our pipes."""
        ends = Ends(Pipes.with_stdin())
        self._made.append((spec.id, ends.pipes))
        self.runtime.create(spec, stdio or ends.pipes.theirs, ended=ends.ended)
        ends.pipes.close_theirs()
        return ends

    def run(self, name: str, *argv: str, **changes: object) -> Ends:
        """A container whose main process runs."""
        ends = self.create(self.spec(name, *argv, **changes))
        self.runtime.start(name)
        return ends

    def ask(self, script: str, *, name: str = "c1", **wishes: str) -> Ran:
        """What a shell script does in the running container `name`."""
        return self.exec(name, "sh", "-c", script, **wishes)

    def exec(self, name: str, *argv: str, **wishes: object) -> Ran:
        """What a command does."""
        process, ends = self.begin(name, *argv, **wishes)
        exit_ = self.runtime.wait(process, SECONDS)
        ran = Ran(exit_, ends.output(), ends.complaints())
        ends.pipes.close()
        return ran

    def begin(self, name: str, *argv: str, **wishes: object) -> tuple[Process, Ends]:
        """A command that has been started, with a stdin that has ended."""
        process, ends = self.talk(name, *argv, **wishes)
        ends.hang_up()
        return process, ends

    def talk(self, name: str, *argv: str, **wishes: object) -> tuple[Process, Ends]:
        """A command that has been started, with its stdin open."""
        ends = Ends(Pipes.with_stdin())
        self._made.append((name, ends.pipes))
        command = Command(argv, **wishes)  # type: ignore[arg-type]
        process = self.runtime.exec(name, command, ends.pipes.theirs, ended=ends.ended)
        ends.pipes.close_theirs()
        return process, ends

    def clear(self) -> None:
        """Delete all containers, close all pipes."""
        for name, pipes in self._made:
            self.runtime.delete(name)
            pipes.close()


class Fixtures:
    """What the suite stands on."""

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The runtime to be tried; every test class brings its own."""
        raise TypeError(f"{type(self).__name__} must override the fixture `runtime`")

    @pytest.fixture
    def rootfs(self) -> Path:
        """A mounted root file system; every test class brings its own."""
        raise TypeError(f"{type(self).__name__} must override the fixture `rootfs`")

    @pytest.fixture
    def group(self) -> Group:
        """The control group that the containers' own are made in; every test class brings its own."""
        raise TypeError(f"{type(self).__name__} must override the fixture `group`")

    @pytest.fixture
    def sandbox(self) -> Iterator[Sandbox]:
        """User and network namespaces, held open here."""
        held = make_sandbox_namespaces(IDS.uid_base, IDS.gid_base, IDS.count)
        here = f"/proc/{os.getpid()}/fd"
        yield Sandbox(user=f"{here}/{held.user}", network=f"{here}/{held.net}", ids=IDS)
        held.close()

    @pytest.fixture
    def play(self, runtime: Runtime, rootfs: Path, sandbox: Sandbox, group: Group) -> Iterator[Playground]:
        """Makes containers; afterwards neither processes nor descriptors of theirs may be left."""
        before = _descriptors()
        play = Playground(runtime, rootfs, sandbox, group)
        yield play
        play.clear()
        assert group.pids() == frozenset()
        assert _descriptors() == before

    @pytest.fixture
    def running(self, play: Playground) -> Playground:
        """The same with a container "c1" that runs and does nothing."""
        play.run("c1")
        return play


def _descriptors() -> set[str]:
    """Of this process, but for the one that lists them."""
    names = os.listdir("/proc/self/fd")
    return {name for name in names if os.path.lexists(f"/proc/self/fd/{name}")}
