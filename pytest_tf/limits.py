"""Limits that somebody has asked for and the node's machine does not keep: said once for each container, as a warning.

Knows the node's notes by how they begin, nothing of control groups.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

from pytest_tf.specs import ContainerSpec

if TYPE_CHECKING:
    from tfnz.container import Container

BEGINNINGS = {
    "memory": "memory is not limited",
    "cpus": "processor time is not limited",
    "pids": "processes are not limited",
}
"""Of the note that tells that a limit is not kept."""


def warn_of_limits(container: Container, spec: ContainerSpec, name: str) -> None:
    """Warn if `spec`, which the container `name` was made by, asks for a limit that is not kept."""
    asked = tuple(beginning for limit, beginning in BEGINNINGS.items() if getattr(spec, limit))
    for note in container.startup_notes:
        if asked and note.startswith(asked):
            warnings.warn(pytest.PytestWarning(f"{name}: {note}"), stacklevel=2)
