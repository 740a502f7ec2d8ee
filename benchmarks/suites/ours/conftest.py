"""nginx by pytest-tf: one container for the session, rolled back as `--tf-isolate` says."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest

from benchmarks.ground.services import NGINX, PAGE, get
from pytest_tf import container
from tfnz.container import Container

box = container(os.environ["TF_BENCH_IMAGE"])


class Web(NamedTuple):
    """The page, to be looked at and to be changed."""

    page: Callable[[], bytes]
    deface: Callable[[bytes], object]


@pytest.fixture
def web(box: Container) -> Web:
    return Web(partial(get, NGINX.address_of(box)), partial(box.put, PAGE))
