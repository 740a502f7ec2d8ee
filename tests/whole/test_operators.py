"""What operators rely on, at a real location with a real node: one request followed through all logs, and a node that runs
with no more powers than its unit gives it."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import RemoteLocation, until
from tests.support.line import SECONDS, said, short_directory, sleeper

pytestmark = pytest.mark.leaks("module")

UNIT = Path(__file__).parents[2] / "node" / "systemd" / "tf-node.service"
ID = re.compile(r"\bcontainer\.(spawn|put-file) request=(r-[0-9A-Za-z]{22})")


def powers() -> str:
    """The unit's capabilities as setpriv(1) writes a bounding set."""
    lines = [
        line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith("CapabilityBoundingSet=")
    ]
    return ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for line in lines for name in line.split())])


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteLocation]:
    """A location whose node has been started as its unit would: with those capabilities, and no way to gain others."""
    before = {"node": ["setpriv", "--bounding-set", powers(), "--no-new-privs"]}
    with short_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "manager"))
        manager.settimeout(SECONDS)
        place = RemoteLocation(
            directory,
            name=f"powers-{os.getpid()}",
            before=before,
            environment={"NOTIFY_SOCKET": str(directory / "manager")},
        )
        try:
            place.words = [manager.recv(100).decode() for _ in ("location", "node")]  # type: ignore[attr-defined]
            yield place
        finally:
            place.stop()


def entries(remote: RemoteLocation, name: str) -> list[dict[str, Any]]:
    """A daemon's log, line by line."""
    return [json.loads(line) for line in remote.log(name).splitlines() if line.startswith("{")]


def test_a_request_is_followed_from_client_to_container(
    remote: RemoteLocation, tiny: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="tfnz"), remote.connect() as location:
        container = sleeper(location, tiny)
        container.put("/asked", b"for")
        assert said(container, "cat /asked") == "for"
        asked = dict(ID.findall(caplog.text))

        def line(daemon: str, **fields: str) -> dict[str, Any] | None:
            found = (entry for entry in entries(remote, daemon) if fields.items() <= entry.items())
            return next(found, None)

        put = asked["put-file"]
        for daemon in ("location", "node"):
            seen = until(lambda daemon=daemon: line(daemon, request=put), f"{put} in the {daemon}'s log")
            assert seen["container"] == container.uuid
            assert "outcome=ok" in seen["message"]
        spawn = asked["spawn"]
        assert until(lambda: line("location", request=spawn), "the spawn in the location's log")
        boot = until(lambda: line("node", cause=spawn), "what was asked in its service, in the node's log")
        assert "node.boot-container" in boot["message"]
        assert boot["request"] != spawn


def test_both_daemons_tell_the_service_manager_when_they_are_ready(remote: RemoteLocation, tiny: str) -> None:
    assert remote.words == ["READY=1", "READY=1"]  # type: ignore[attr-defined]
    with remote.connect() as location:
        container = sleeper(location, tiny)
        assert "NOTIFY" not in said(container, "cat /proc/1/environ; env"), "it is no business of a container's"


def test_the_units_powers_are_enough(remote: RemoteLocation, tiny: str) -> None:
    """Container, snapshot, rollback, volume and firewall; and the agent really has no other capability."""
    status = Path(f"/proc/{remote.node.agent}/status").read_text()
    bounds = int(re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.M)[1], 16)  # type: ignore[index]
    assert not bounds & (1 << 16), "CAP_SYS_MODULE is not in the unit"
    with remote.connect() as location:
        node = location.node()
        volume = node.create_volume()
        one = sleeper(location, tiny, volumes=[(volume, "/data")])
        other = sleeper(location, tiny)
        other.allow_connection_from(one)
        one.snapshot("before")
        one.put("/data/written", b"x")
        one.rollback("before")
        assert said(one, "ls /data") == ""
        one.wait_until_ready()
