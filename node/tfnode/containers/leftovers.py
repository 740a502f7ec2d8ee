"""What was left half done on the disk, told by its label in the storage: by a dead agent, removed before the next begins;
by a step that failed and could not be taken back, removed when its container ends.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable

from tfcore.errors import WrongState
from tfnode.containers.table import moments_on_disk
from tfnode.storage.interface import Info, Kind, Storage
from tfnode.volumes.ledger import Entry

log = logging.getLogger(__name__)

_GENERATION = re.compile(r"\Ac-\w{22}\.g\d+\Z")
_OF_VOLUME = re.compile(r"\A(?P<volume>v-\w{22})\.")
_MOMENT_OF_VOLUME = re.compile(r"\Av-\w{22}\.c\.")


def remove_leftovers(storage: Storage, volumes: Collection[Entry]) -> None:
    """Remove generations, none of which lives; trees that no volume shows; a container's snapshots of volumes without its
    snapshot of itself, which is taken last; and all of volumes nobody knows of. What users have kept stays.

    Args:
        volumes: those the ledger knows.
    """
    infos = list(storage.walk())
    whole = {
        label for moments in moments_on_disk(infos).values() for m in moments.values() for label in m.volumes.values()
    }
    shown = {entry.id: entry.tree for entry in volumes}
    _remove(storage, [info for info in infos if _is_left_over(info, shown, whole)])
    storage.sweep()


def remove_all_of(storage: Storage, container: str) -> None:
    """Remove whatever there still is of a container that has ended; what users have kept stays."""
    _remove(storage, [info for info in storage.walk() if info.label.startswith(f"{container}.")])


def _remove(storage: Storage, doomed: Iterable[Info]) -> None:
    for info in sorted(doomed, key=lambda info: (info.kind is Kind.SNAPSHOT, -info.created)):
        if info.kind is Kind.SNAPSHOT:
            storage.retire(info.label)  # something kept may have grown from it
            continue
        try:
            storage.remove(info.label)
        except WrongState as needed:
            log.info("%s is left over, and stays: %s", info.label, needed)


def _is_left_over(info: Info, shown: dict[str, str], whole: Collection[str]) -> bool:
    if _GENERATION.match(info.label):
        return True
    volume = _OF_VOLUME.match(info.label)
    if volume is None:
        return False
    if volume["volume"] not in shown:
        return True
    if info.kind is Kind.TREE:
        return info.label != shown[volume["volume"]]
    return bool(_MOMENT_OF_VOLUME.match(info.label)) and info.label not in whole
