"""The file that arms a location's failpoints, as the campaign writes it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfcore.failpoints import Order


class Armoury:
    """One file.

    Attributes:
        fired: the orders that have fired, as they were written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fired = path.with_suffix(".fired")
        self.fired: list[str] = []

    @contextlib.contextmanager
    def armed(self, *orders: Order) -> Iterator[None]:
        """These and no others, for the length of the block."""
        self._write(orders)
        try:
            yield
        finally:
            self._write(())
            with contextlib.suppress(FileNotFoundError):
                self.fired += self._fired.read_text().splitlines()
                self._fired.unlink()

    def _write(self, orders: tuple[Order, ...]) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False) as file:
            file.write("".join(f"{order}\n" for order in orders))
        os.replace(file.name, self._path)
