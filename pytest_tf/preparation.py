"""What makes a fresh container the one a suite wants (migrations, sample data), and what that depends on.

Run once; afterwards the prepared container is found again by the key of everything it depends on (`baseline_cache.py`).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tf.code_digest import code_digest

if TYPE_CHECKING:
    from tfnz.container import Container

Prepare = Callable[["Container"], Any]

FORMAT = 1
"""Counts up when the same key would stand for something else."""


@dataclass(frozen=True)
class Step:
    """One function that prepares a container.

    Attributes:
        inputs: glob patterns of files it reads; a directory stands for all files in it.
        directory: what the patterns are relative to.
    """

    function: Prepare
    inputs: tuple[str, ...]
    directory: Path

    def files(self) -> list[Path]:
        """The files of `inputs`, sorted.

        Raises:
            pytest.UsageError: a pattern matches nothing.
        """
        return sorted({file for pattern in self.inputs for file in self._matching(pattern)})

    def _matching(self, pattern: str) -> list[Path]:
        found = [file for path in self.directory.glob(pattern) for file in _files_of(path)]
        if not found:
            raise pytest.UsageError(
                f"inputs={pattern!r} of {self.function!r}: there is no such file in {self.directory}"
            )
        return found


def _files_of(path: Path) -> Iterator[Path]:
    return (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else iter((path,))


@dataclass
class Preparation:
    """The steps, in the order in which they are run."""

    steps: list[Step] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.steps)

    def add(self, function: Prepare, inputs: Sequence[str], directory: Path) -> None:
        """One more step.

        Raises:
            ValueError: it cannot be one; the message says why.
        """
        if not callable(function) or not _takes_one(function):
            raise ValueError(f"{function!r} cannot prepare a container: give a function that takes the container")
        if isinstance(inputs, str) or not all(isinstance(one, str) and one for one in inputs):
            raise ValueError(f"inputs={inputs!r}: give a list of glob patterns")
        if any(Path(one).is_absolute() for one in inputs):
            raise ValueError(f"inputs={inputs!r}: give patterns relative to {directory}")
        self.steps.append(Step(function, tuple(inputs), directory))

    def run(self, container: Container) -> None:
        """Prepare a container. Raises what the functions raise."""
        for step in self.steps:
            step.function(container)

    def key(self, image: str, wishes: Mapping[str, Any], root: Path) -> str:
        """What the prepared state depends on, as hexadecimal digits.

        Args:
            image: identifies its content.
            wishes: what the container is spawned with; of volumes, their paths.
            root: the project's directory; where it is does not matter, so that a colleague's key is the same.

        Raises:
            pytest.UsageError: a declared input does not exist.
        """
        digest = hashlib.sha256(repr((FORMAT, image, sorted(wishes.items()))).encode())
        for step in self.steps:
            digest.update(code_digest(step.function, root).encode())
            for file in step.files():
                name = file.relative_to(step.directory) if file.is_relative_to(step.directory) else file.name
                digest.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()


def _takes_one(function: Prepare) -> bool:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return not inspect.isgeneratorfunction(function) and not inspect.iscoroutinefunction(function)
