"""How unpacked layers lie on disk: one directory each, complete or absent.

    ROOT/shelf.json           for which ids, in which format the layers are; if it differs, all are thrown away
    ROOT/layers/<digest>/fs   the unpacked layer: a lower directory for overlayfs
                       /layer.json   what it is, written before the directory gets its place
                       /flushed      its content has reached the disk
    ROOT/aside/<anything>     being unpacked or being removed; whatever is here at start is left over

A directory gets its place by a rename and loses it by a rename, so a crash of the agent leaves no half layer. A crash of the
machine could, as file systems write names before contents; hence `flushed`, and layers without it are thrown away after a
reboot. Knows nothing of who uses a layer. Not safe for several processes at once.
"""

from __future__ import annotations

import ctypes
import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tfcore.undo import Undo
from tfnode.images.disk import full_disk_named
from tfnode.images.remove import remove
from tfnode.images.shift import IdShift
from tfnode.images.unpack import Unpacked

log = logging.getLogger(__name__)

FORMAT = 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ALGORITHM = "sha256:"

Unpack = Callable[[Path], Unpacked]
"""Fills the directory it is given, which does not exist yet."""


class _ShelfFile(msgspec.Struct, frozen=True):
    format: int
    uid_base: int
    gid_base: int
    count: int


class _LayerFile(msgspec.Struct, frozen=True):
    entries: int
    disk_bytes: int
    boot_id: str


class Shelf:
    """The directory of unpacked layers. Opening it removes what is left over or unusable.

    Args:
        root: made if missing; nobody but root may look into it, since layers hold setuid files and devices.
        shift: the ids its layers are unpacked for.

    Raises:
        OSError: the directory cannot be used.
    """

    def __init__(self, root: Path, shift: IdShift) -> None:
        self._root = root
        self._layers = root / "layers"
        self._aside = root / "aside"
        self._boot_id = _BOOT_ID.read_text().strip()
        for directory in (root, self._layers, self._aside):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        self._match(_ShelfFile(FORMAT, shift.uid_base, shift.gid_base, shift.count))
        self._discard_unusable()
        self._empty_aside()

    def layers(self) -> dict[str, int]:
        """The layers there are with the bytes they take on disk, the longest unused first."""
        found = sorted(self._layers.iterdir(), key=lambda place: place.stat().st_mtime_ns)
        return {_ALGORITHM + place.name: self._record(place).disk_bytes for place in found}

    def path(self, diff_id: str) -> Path:
        """Where the layer is, or would be."""
        return self._place(diff_id) / "fs"

    def add(self, diff_id: str, unpack: Unpack) -> int:
        """Have a layer unpacked aside, then give it its place.

        Returns:
            The bytes it takes on disk.

        Raises:
            Exhausted: the disk is full.
            Exception: whatever `unpack` raises. After any error nothing is left.
        """
        building = self._new_aside()
        with Undo() as undo:
            undo.push(self.delete, building)
            with full_disk_named(self._root):
                building.mkdir(mode=0o700)
            unpacked = unpack(building / "fs")
            record = _LayerFile(unpacked.entries, unpacked.disk_bytes, self._boot_id)
            with full_disk_named(self._root):
                (building / "layer.json").write_bytes(msgspec.json.encode(record))
                _touch(building)
                building.rename(self._place(diff_id))
            undo.done()
        return unpacked.disk_bytes

    def touch(self, diff_id: str) -> None:
        """Remember over restarts that the layer was used just now."""
        _touch(self._place(diff_id))

    def take_away(self, diff_id: str) -> Path:
        """Take a layer from its place, at once; returns what `delete` then needs."""
        doomed = self._new_aside()
        self._place(diff_id).rename(doomed)
        return doomed

    def delete(self, doomed: Path) -> None:
        """Free the disk space of what `take_away` returned; what fails is logged, and tried again at the next start."""
        try:
            remove(doomed)
        except OSError as error:
            log.warning("%s cannot be removed now: %s", doomed, error)

    def flush(self) -> None:
        """Write all layers to the disk, so that they outlast a crash of the machine. Takes as long as the disk does.

        Raises:
            OSError: the disk says no.
        """
        waiting = [place for place in self._layers.iterdir() if not (place / "flushed").exists()]
        if waiting:
            _syncfs(self._layers)
        for place in waiting:
            _mark(place)

    def _place(self, diff_id: str) -> Path:
        return self._layers / diff_id.removeprefix(_ALGORITHM)

    def _new_aside(self) -> Path:
        return self._aside / secrets.token_hex(8)

    def _match(self, wanted: _ShelfFile) -> None:
        """Throw all layers away if they were made for other ids or in another format."""
        note = self._root / "shelf.json"
        try:
            if msgspec.json.decode(note.read_bytes(), type=_ShelfFile) == wanted:
                return
        except (FileNotFoundError, msgspec.DecodeError):
            pass
        for place in self._layers.iterdir():
            place.rename(self._new_aside())
        note.write_bytes(msgspec.json.encode(wanted))

    def _discard_unusable(self) -> None:
        for place in self._layers.iterdir():
            if not self._is_usable(place):
                log.info("layer %s was not written to disk completely before a crash; it is removed", place.name)
                place.rename(self._new_aside())

    def _is_usable(self, place: Path) -> bool:
        try:
            return self._record(place).boot_id == self._boot_id or (place / "flushed").exists()
        except (OSError, msgspec.DecodeError):
            return False

    def _record(self, place: Path) -> _LayerFile:
        return msgspec.json.decode((place / "layer.json").read_bytes(), type=_LayerFile)

    def _empty_aside(self) -> None:
        for leftover in self._aside.iterdir():
            self.delete(leftover)


def _touch(place: Path) -> None:
    now = time.time_ns()  # the kernel's own "now" is the same for several layers in a row
    os.utime(place, ns=(now, now))


def _mark(place: Path) -> None:
    try:
        (place / "flushed").touch()
    except FileNotFoundError:
        log.debug("layer %s was evicted meanwhile", place.name)


def _syncfs(directory: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
    finally:
        os.close(fd)
