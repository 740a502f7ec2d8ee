"""A cache in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tflocation.images.cache import ImageCache


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(root: Path) -> Iterator[ImageCache]:
    cache = ImageCache(root)
    yield cache
    cache.close()
