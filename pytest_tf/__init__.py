"""pytest-tf: disposable containers as the unit of test isolation.

    # conftest.py
    from pytest_tf import container, ready

    web = container("nginx", ready=ready.http(80))

The names are loaded when first used: this package is imported in every pytest run of its environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_tf.factories import container, volume
    from tfnz import ready
    from tfnz.container import Container
    from tfnz.location import Location
    from tfnz.volume import Volume

__all__ = ["Container", "Location", "Volume", "container", "ready", "volume"]

_HOMES = {
    "Container": "tfnz.container",
    "Location": "tfnz.location",
    "Volume": "tfnz.volume",
    "container": "pytest_tf.factories",
    "volume": "pytest_tf.factories",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "ready":
        return import_module("tfnz.ready")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
