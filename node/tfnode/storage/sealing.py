"""A snapshot of a tree that nobody has mounted: without a copy where the driver can. Knows no driver."""

from __future__ import annotations

from tfnode.storage.interface import Sealing, Storage


def seal(storage: Storage, key: str, name: str) -> None:
    """Keep the content of the tree `key` as `name`; the tree goes on. The caller answers for it that it is not mounted.

    Raises:
        TfError: as `Storage.snapshot`.
    """
    if isinstance(storage, Sealing):
        storage.seal(key, name)
    else:
        storage.snapshot(key, name)


def copy_snapshot(storage: Storage, name: str, copy: str) -> None:
    """Another snapshot, `copy`, of what the snapshot `name` shows; by way of a tree, which is gone afterwards.

    Raises:
        TfError: as `Storage.clone` and `snapshot`; there is no copy then.
    """
    tree = f"{copy}.t"
    storage.clone(name, tree)
    try:
        seal(storage, tree, copy)
    finally:
        storage.remove(tree)
