"""A node to launch, which is gone with all its mounts at the end of the test, and a relay for tunnels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.launching import Node
from tests.node.relaying import Counting


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    one = Node(tmp_path)
    yield one
    one.close()
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


@pytest.fixture
def relay() -> Iterator[Counting]:
    relay = Counting()
    yield relay
    relay.close()
