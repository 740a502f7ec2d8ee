"""nginx by testcontainers: a fresh container for each test, or one for the session, as TF_BENCH_SCOPE says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest

from benchmarks.ground.services import NGINX, PAGE, get
from benchmarks.peers.lives import makers

SCOPE: Any = os.environ["TF_BENCH_SCOPE"]


class Web(NamedTuple):
    """The page, to be looked at and to be changed."""

    page: Callable[[], bytes]
    deface: Callable[[bytes], object]


@pytest.fixture(scope=SCOPE)
def box() -> Iterator[Any]:
    with makers()[NGINX.image](os.environ["TF_BENCH_IMAGE"]) as container:
        NGINX.wait(_address(container))
        yield container


@pytest.fixture
def web(box: Any) -> Web:
    def deface(text: bytes) -> None:
        done = box.exec(["sh", "-c", f"echo '{text.decode()}' > {PAGE}"])
        assert done.exit_code == 0, done.output

    return Web(partial(get, _address(box)), deface)


def _address(container: Any) -> tuple[str, int]:
    return "127.0.0.1", int(container.get_exposed_port(NGINX.port))
