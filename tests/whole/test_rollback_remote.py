"""Rollback at a location over TCP, where tunnels are carried by the session's connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemons import RemoteLocation
from tests.support.line import PORT, Spawn, remote_location, said
from tests.support.tcp_clients import assert_reset_by_rollback, hammering, outcome
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[RemoteLocation]:
    with remote_location() as made:
        yield made


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_connections_through_a_carried_tunnel_are_reset(location: Location, serve: Spawn, busy: bool) -> None:
    container = serve()
    tunnel = container.attach_tunnel(PORT)
    assert not tunnel.handed_over
    container.snapshot()
    assert_reset_by_rollback(container, tunnel.localport, busy=busy)


def test_who_connects_during_rollbacks_never_waits_for_the_dead(location: Location, serve: Spawn) -> None:
    container = serve()
    port = container.attach_tunnel(PORT).localport
    container.snapshot()
    with hammering(port) as outcomes:
        for _ in range(12):
            container.rollback()
    assert set(outcomes) <= {"echo", "reset"}
    assert outcome(port) == "echo"


def test_files_and_volumes_go_back(location: Location, serve: Spawn) -> None:
    volume = location.node().create_volume()
    container = serve(volumes={"/data": volume}, pre_boot_files={"/seed": b"seed"})
    container.snapshot()
    said(container, "rm /seed; echo new > /data/new")
    container.rollback()
    assert said(container, "cat /seed; ls /data") == "seed"
