"""Functions of Python files, at a location: mixed into `Location`, which has the rest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfnz.functions.module import Function
    from tfnz.location import Location


class Functional:
    """What is called there."""

    def function(  # type: ignore[misc]
        self: Location,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        image: str = "",
        rollback: bool = True,
        keep: bool = True,
        **spawn_arguments: Any,
    ) -> Function:
        """A function of a Python file, as a callable that runs in a container (seed 000: a source ending in `.py`).

        The container is made at the first call, with the dependencies the file names in its `# /// script` block (PEP 723),
        and serves all later ones, each of which begins from the same state.

        Args:
            path: the file, here.
            name: of the function; default: `main`, or the file as a program, or the only function there is.
            image: one with a python3; default: what the file says, else `python:3.N-slim` of a version that fits.
            rollback: False keeps what a call leaves for the next one.
            keep: what the dependencies make of the image is kept at the location for a week, and later runs begin there.
            spawn_arguments: of `Node.spawn_container`: env, volumes, memory, …

        Raises:
            NotFound: no such file, or function. BadRequest: it is no Python, or says wrong things of itself.
        """
        from tfnz.functions.module import Function, Module

        module = Module(self, os.fspath(path), image=image, rollback=rollback, keep=keep, **spawn_arguments)
        return Function(module, module.outline.chosen(name))
