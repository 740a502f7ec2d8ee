"""Images as the zfs driver has them: each unpacked once into a dataset that trees are clones of.

tank/tf-…/_image.HASH@_image.HASH    the whole image; without the snapshot it is not finished
ROOT/images/_image.HASH              the layers it was made of, as JSON; it goes when one of them has gone
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfnode.storage.inventory import CONTENT
from tfnode.storage.shelf import MODE
from tfnode.storage.treecopy import Whiteouts, merge_layers
from tfnode.storage.zfs_shelf import ZfsShelf


class ZfsImages:
    """The images below `root`; OSError if it cannot be written to."""

    def __init__(self, root: Path, shelf: ZfsShelf) -> None:
        self._notes = root / "images"
        self._shelf = shelf
        self._lock = threading.Lock()
        self._notes.mkdir(mode=MODE, exist_ok=True)

    @contextmanager
    def unpacked(self, layers: tuple[Path, ...]) -> Iterator[str]:
        """The name of the snapshot that holds these layers merged; it stays at least as long as the block.

        Raises:
            OSError, StorageFailed: the disk refuses.
        """
        name = f"_image.{hashlib.sha256(_packed(layers)).hexdigest()[:24]}"  # no label begins like that
        with self._shelf.spared(name):
            with self._lock:
                if not self._shelf.has(name):
                    self._unpack(name, layers)
            yield name

    def _unpack(self, name: str, layers: tuple[Path, ...]) -> None:
        self._shelf.scrap(name)  # what a crash left half done
        (self._notes / name).write_bytes(_packed(layers))
        place = self._shelf.create(name, durable=False)
        merge_layers(tuple(reversed(layers)), place / CONTENT, Whiteouts.APPLY)
        self._shelf.keep(name, name)
        self._shelf.hide(name)

    def kept(self) -> set[str]:
        """The names of the images whose layers are all there; the others are forgotten."""
        names = set(os.listdir(self._notes))
        for name in sorted(names):
            note = self._notes / name
            if not all(Path(layer).is_dir() for layer in json.loads(note.read_bytes() or b'[""]')):
                note.unlink()
                names.discard(name)
        return names


def _packed(layers: tuple[Path, ...]) -> bytes:
    return json.dumps([str(layer) for layer in layers]).encode()
