"""The 20ft SDK: locations, nodes, containers, volumes. Usable without pytest.

    from tfnz import *                              # seed 002
    container = location.Location().node().spawn_container("nginx")

    from tfnz.location import Location, last_image  # seed 001
    from tfnz import Location, ready                # short

What is named here is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfnz import components, container, docker, location, node, process, ready, tunnel, volume
    from tfnz.container import Container
    from tfnz.docker import Docker
    from tfnz.external import ExternalContainer
    from tfnz.kept import Kept
    from tfnz.location import Location, last_image
    from tfnz.node import Node
    from tfnz.process import Process
    from tfnz.tagged import Taggable, TaggedCollection
    from tfnz.tunnel import Tunnel
    from tfnz.volume import Volume

_HOME = {
    "Container": "container",
    "Docker": "docker",
    "ExternalContainer": "external",
    "Kept": "kept",
    "Location": "location",
    "Node": "node",
    "Process": "process",
    "Taggable": "tagged",
    "TaggedCollection": "tagged",
    "Tunnel": "tunnel",
    "Volume": "volume",
    "last_image": "location",
}

__all__ = [
    "Container",
    "Docker",
    "ExternalContainer",
    "Kept",
    "Location",
    "Node",
    "Process",
    "Taggable",
    "TaggedCollection",
    "Tunnel",
    "Volume",
    "components",
    "container",
    "docker",
    "last_image",
    "location",
    "node",
    "process",
    "ready",
    "tunnel",
    "volume",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tfnz' has no attribute {name!r}")
    module = importlib.import_module(f"tfnz.{_HOME.get(name, name)}")
    return getattr(module, name) if name in _HOME else module


def __dir__() -> list[str]:
    return __all__
