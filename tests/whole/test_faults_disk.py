"""A container fills the disk that location and node are on, to the last block: the others live, and it can be undone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.line import PORT, Spawn, said, session_at, short_directory, sleeper
from tests.support.tcp_clients import echoed
from tfcore.errors import Exhausted
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

SIZE = 200 * 1024 * 1024


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """On a file system of its own, nothing of which is kept back for root."""
    with short_directory() as directory:
        disk, mounted = directory / "disk", directory / "m"
        mounted.mkdir(mode=0o711)
        with disk.open("wb") as file:
            file.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", disk], check=True)
        subprocess.run(["mount", "-o", "loop", disk, mounted], check=True)
        made = PrivateLocation(mounted)
        try:
            yield made
        finally:
            made.stop()
            subprocess.run(["umount", mounted], check=True)


def fill_disk(container: Container) -> None:
    """Large pieces first, then single blocks, until there is not one left."""
    for size in ("1M", "4k", "512"):
        assert container.run_process(f"dd if=/dev/zero of=/filling-{size} bs={size}").exit_code != 0


def test_whoever_fills_it_is_put_back_and_others_live(location: Location, serve: Spawn) -> None:
    culprit, other = serve(), serve()
    port = other.attach_tunnel(PORT).localport
    for container in (culprit, other):
        container.snapshot("base")
        container.rollback()
    fill_disk(culprit)
    assert echoed(port)
    other.rollback()
    assert echoed(port)
    with pytest.raises(Exhausted, match="No space left"):
        culprit.snapshot("full")
    with pytest.raises(Exhausted, match=r"(?i)no space left"):
        culprit.put("/file", b"x" * 1_000_000)
    culprit.rollback("base")
    assert said(culprit, "ls / | grep -c filling || true") == "0"
    assert culprit.rollback("base").generation == culprit.status().generation
    culprit.snapshot("again")
    assert echoed(serve().attach_tunnel(PORT).localport)


def test_a_volume_that_fills_it_is_put_back_with_its_container(location: Location, serve: Spawn) -> None:
    container = serve(volumes={"/data": location.node().create_volume()})
    container.snapshot("base")
    container.rollback()
    container.run_process("dd if=/dev/zero of=/data/filling bs=1M; dd if=/dev/zero of=/data/last bs=512")
    container.rollback()
    assert said(container, "ls /data") == ""
    container.snapshot("again")


def test_a_session_that_fills_it_is_freed_when_it_ends(place: PrivateLocation, tiny: str) -> None:
    """Before anything has been removed, that it is cannot be written down but in the room that was kept for it."""
    for _ in range(2):
        with session_at(place) as session:
            culprit = sleeper(session, tiny)
            culprit.snapshot("base")
            fill_disk(culprit)
    with session_at(place) as session:
        assert said(sleeper(session, tiny), "echo room > /room; cat /room") == "room"
