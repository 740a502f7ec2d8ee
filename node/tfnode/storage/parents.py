"""What a parent that a caller names means for a new tree. Knows the metastore, no driver."""

from __future__ import annotations

import os
from pathlib import Path

from tfcore.errors import NotFound
from tfnode.storage.interface import Empty, Image, Parent
from tfnode.storage.metastore import Metastore, Origin


def origin_of(store: Metastore, parent: Parent) -> Origin:
    """What a tree grown from `parent` stands on.

    Raises:
        NotFound: no such snapshot, or a layer of the image is not a directory.
        WrongState: `parent` is the key of a tree.
    """
    match parent:
        case Image(layers):
            return Origin(None, tuple(_present(layer) for layer in layers))
        case Empty():
            return Origin(None, ())
        case name:
            return Origin(name, store.snapshot(name).origin.layers)


def _present(layer: Path) -> Path:
    if not layer.is_dir():
        raise NotFound(f"the image layer {layer} is not there", hint="fetch the image again")
    return layer


def make_empty(directory: Path, empty: Empty) -> None:
    """Make the directory that an `Empty` tree consists of.

    Raises:
        OSError: it cannot be made.
    """
    directory.mkdir()
    os.chown(directory, *(-1 if owner is None else owner for owner in (empty.uid, empty.gid)))
    directory.chmod(empty.mode)
