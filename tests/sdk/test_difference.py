"""What changed, as people read it."""

from __future__ import annotations

import pytest

from tfcore.wire import differences as wire
from tfnz.difference import Connection, Difference, FileChange, ProcessChange, size

TOLD = wire.Compared(
    snapshot="base",
    files=(
        wire.FileDifference(path="/etc/a", kind="changed", before=100, after=2048),
        wire.FileDifference(path="/gone", kind="removed", before=7),
        wire.FileDifference(path="/tmp/dir", kind="added"),
        wire.FileDifference(path="/var/b", kind="changed", before=5, after=5),
    ),
    more_files=3,
    bytes=2053,
    processes=(wire.ProcessDifference(kind="new", pid=12, command="sleep 9"),),
    connections=(
        wire.EstablishedConnection(incoming=True, port=80, peer="10.0.0.1", peer_port=4000),
        wire.EstablishedConnection(incoming=False, port=5432, peer="10.0.0.2", peer_port=5432),
    ),
    more_connections=1,
    notes=("no time",),
)


def test_all_that_was_told_is_there() -> None:
    told = Difference.of(TOLD)
    assert told.files[0] == FileChange("/etc/a", "changed", 100, 2048)
    assert told.processes == (ProcessChange("new", 12, "sleep 9"),)
    assert told.connections[1] == Connection(incoming=False, port=5432, peer="10.0.0.2", peer_port=5432)
    assert (told.snapshot, told.bytes, told.more_files, told.more_connections) == ("base", 2053, 3, 1)


def test_as_a_text() -> None:
    assert str(Difference.of(TOLD)).splitlines() == [
        "changed since base: 7 files, 2.0 KiB, 1 process",
        "  changed        100 B → 2.0 KiB  /etc/a",
        "  removed                    7 B  /gone",
        "  added                           /tmp/dir",
        "  changed                    5 B  /var/b",
        "  and 3 more files",
        "  process new         12  sleep 9",
        "  connection to port 80 from 10.0.0.1:4000",
        "  connection to 10.0.0.2:5432 from inside",
        "  and 1 more connection",
        "  (no time)",
    ]
    assert list(Difference.of(TOLD).lines(1))[:2] == ["changed        100 B → 2.0 KiB  /etc/a", "and 6 more files"]
    assert str(Difference("base")) == "changed since base: nothing"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 20, "3.0 MiB"), (5 << 40, "5120.0 GiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
