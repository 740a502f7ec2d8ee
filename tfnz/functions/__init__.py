"""Functions of a Python file, called in a container: `location.function("shapes.py")`, `tf shapes.py area 2 3`.

    metadata     what the file says of itself: dependencies, Python, image (PEP 723)
    signatures   its functions, without importing it
    words        a function's arguments from a command line
    packages     its dependencies, resolved and downloaded on this machine
    preparation  the container it is called in
    module       the file as an object, its functions as callables
    values       what travels: JSON and a few tagged types. Also runs in the container
    inside       imports the file there and calls. Runs in the container only

What comes from a container is data: nothing of it is ever executed here (no pickle).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfnz.functions.errors import RemoteError
    from tfnz.functions.module import Function, Module

__all__ = ["Function", "Module", "RemoteError"]


def __getattr__(name: str) -> Any:
    if name == "RemoteError":
        from tfnz.functions.errors import RemoteError

        return RemoteError
    if name in __all__:
        from tfnz.functions import module

        return getattr(module, name)
    raise AttributeError(f"module 'tfnz.functions' has no attribute {name!r}")
