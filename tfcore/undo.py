"""The undo stack of every multi-step operation: each finished step registers how to take it back.

Knows nothing of what the steps do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)


class Undo:
    """Run registered steps backwards unless `done()` was called before the block ended.

    >>> with Undo() as undo:
    ...     undo.push(print, "taken back")
    ...     undo.done()
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def push(self, step: Callable[..., object], *args: Any) -> None:
        """Register `step(*args)`, to be called once if the operation fails."""
        self._steps.append((step, args))

    def done(self) -> None:
        """The operation is complete: forget the steps."""
        self._steps.clear()

    def run(self) -> None:
        """Take everything back, newest first. A step that fails is logged and does not stop the others."""
        while self._steps:
            step, args = self._steps.pop()
            try:
                step(*args)
            except Exception:
                log.exception("undo step %s%r failed", getattr(step, "__name__", step), args)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.run()
