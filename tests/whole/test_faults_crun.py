"""The OCI runtime dies under the agent, before, amid or after its work: there is the old state or the new, nothing more."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import PORT, Spawn, assert_files, said, short_directory
from tests.support.outside import files_of, generation_processes, main_process
from tests.support.tcp_clients import echoed
from tfcore.errors import TfError
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

IN_FRONT = """#!/bin/sh
how=$(cat {directory}/how 2> /dev/null)
case " $* " in
*" ${{how#* }} "*)
    case "$how" in
    "at-once "*) kill -9 $$ ;;
    "half-way "*) {crun} "$@" & sleep 0.01; kill -9 $! $$ ;;
    "at-last "*) {crun} "$@"; kill -9 $$ ;;
    esac ;;
esac
exec {crun} "$@"
"""

Killing = Callable[[str, str], contextlib.AbstractContextManager[None]]


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """Its node finds a program in front of crun first."""
    with short_directory() as directory:
        directory.chmod(0o711)
        program = directory / "crun"
        program.write_text(IN_FRONT.format(directory=directory, crun=shutil.which("crun")))
        program.chmod(0o755)
        made = PrivateLocation(directory)
        made.environment["PATH"] = f"{directory}:{os.environ['PATH']}"
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture
def killing(place: PrivateLocation) -> Killing:
    """In the block every crun with that verb dies in that way."""

    @contextlib.contextmanager
    def kill(verb: str, how: str) -> Iterator[None]:
        order = place.directory / "how"
        order.write_text(f"{how} {verb}")
        try:
            yield
        finally:
            order.unlink()

    return kill


@pytest.fixture
def container(location: Location, serve: Spawn) -> Container:
    """With a baseline, and a spare that is there."""
    made = serve(volumes={"/data": location.node().create_volume()})
    said(made, "echo 1 | tee /file > /data/file")
    made.snapshot("base")
    made.rollback()
    until(lambda: generation_processes(made, made.status().generation + 1), "a spare")
    return made


@pytest.mark.parametrize("how", ["at-once", "half-way", "at-last"])
def test_no_generation_can_be_made(container: Container, serve: Spawn, killing: Killing, how: str) -> None:
    wanted = files_of(container)
    port = container.attach_tunnel(PORT).localport
    with killing("create", how):
        said(container, "true")  # a trace, so that there is something to roll back
        container.rollback("base")  # by the spare
        process = main_process(container)
        said(container, "echo 2 | tee /file > /data/file")
        with pytest.raises(TfError, match=r"crun create of container .*goes on as it was \(ready\)"):
            container.rollback("base")
        assert main_process(container) == process
        assert said(container, "cat /file /data/file").split() == ["2", "2"]
        with pytest.raises(TfError, match="crun create"):
            serve()
    container.rollback("base")
    assert_files(wanted, container)
    assert echoed(port)


@pytest.mark.parametrize("how", ["at-once", "half-way", "at-last"])
def test_no_generation_can_be_cleared_away(container: Container, killing: Killing, how: str) -> None:
    with killing("delete", how):
        for _ in range(3):
            said(container, "echo 2 | tee /file > /data/file")
            container.rollback("base")
            assert said(container, "cat /file /data/file").split() == ["1", "1"]
    container.rollback("base")


@pytest.mark.parametrize("how", ["at-once", "half-way", "at-last"])
def test_no_command_can_be_run(container: Container, killing: Killing, how: str) -> None:
    with killing("exec", how), pytest.raises(TfError, match="crun exec"):
        container.run_process("sleep 1000")
    container.rollback("base")
    assert said(container, "cat /file") == "1"


def test_a_container_that_cannot_be_removed_now_goes_with_its_session(container: Container, killing: Killing) -> None:
    with killing("delete", "at-once"), pytest.raises(TfError, match="crun delete"):
        container.destroy()
