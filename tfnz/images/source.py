"""The seam between images on this machine and their upload: five members, and the story of how they are used.

A source is opened for one reference and closed when the upload is done. `name` and `config` are known at once, and nothing
else has been read: if the location has every layer already, nothing else ever is. Otherwise `read_out` is called with
the layers that are wanted, and tells their sizes: a source that can only be read from front to back, such as the stream
of `docker save`, reads them now. Then each is opened, perhaps twice (once to prove possession, once to send it). An
upload that was interrupted begins again with `read_out`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

Progress = Callable[[str, int, int], None]
"""(what is being done, bytes done, bytes in all); the last is 0 where it is not known."""


def silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


class ImageSource(Protocol):
    """One image on this machine."""

    @property
    def name(self) -> str:
        """The canonical name under which the location files the image."""

    @property
    def config(self) -> bytes:
        """The image config's JSON, which names the layers."""

    def read_out(self, diff_ids: Collection[str], progress: Progress) -> Mapping[str, int]:
        """Make these layers ready to be opened, and tell how many bytes each is as the source has it.

        Raises:
            BadImage: the source does not hold what its config promises.
            Exhausted: no room to put the layers aside.
            Unavailable: the source is a daemon and went away.
        """

    def open_layer(self, diff_id: str) -> AbstractContextManager[Iterator[bytes]]:
        """A layer that was read out: its chunks, compressed or not, as the source has it.

        Raises:
            BadImage: while reading: cut off or damaged.
        """

    def close(self) -> None:
        """Free what the source holds; twice is harmless."""
