"""The node's unpacked layers, one of each, shared by all containers: made when first needed, kept while anybody uses them.

    store.pin(diff_id)                       # from here on it is not evicted
    path = store.ensure(diff_id, open_blob)  # unpacked now, or already there
    ...                                      # mounted as a lower directory
    store.unpin(diff_id)

Pins are in memory: after a restart, whoever keeps things on disk that stand on a layer (snapshots, volumes) pins it again.
Knows nothing of images, of where blobs come from and of mounts. Safe for many threads, not for several processes.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tfcore.errors import NotFound, WrongState
from tfcore.failpoints import failpoint
from tfnode.images.layertree import is_opaque
from tfnode.images.limits import Limits
from tfnode.images.shelf import Shelf
from tfnode.images.shift import IdShift
from tfnode.images.turns import Turns
from tfnode.images.unpack import Unpacked, checked_diff_id, unpack_layer

log = logging.getLogger(__name__)

PATIENCE = 900.0
"""Seconds to wait while another request unpacks the same layer."""

OpenBlob = Callable[[], AbstractContextManager[Iterable[bytes]]]
"""Opens a layer's blob, compressed or not, for one reading in pieces of any size."""


class LayerStore:
    """Unpacked layers by diff_id.

    Args:
        root: its directory, made if missing; nobody else writes there. Opening it removes what a crash left over.
        shift: the ids containers have on disk; layers unpacked for others are thrown away.
        limits: how much one layer may unpack to.

    Raises:
        OSError: the directory cannot be used.
    """

    def __init__(self, root: Path, shift: IdShift, *, limits: Limits | None = None) -> None:
        self._shelf = Shelf(root, shift)
        self._shift = shift
        self._limits = limits or Limits()
        self._turns = Turns()
        self._lock = threading.Lock()
        self._layers = OrderedDict(self._shelf.layers())  # bytes on disk; the longest unused first
        self._pins: Counter[str] = Counter()

    def ensure(self, diff_id: str, open_blob: OpenBlob, *, patience: float = PATIENCE) -> Path:
        """The layer's directory, unpacked now unless it is there.

        Calls for the same layer wait for one of them to unpack it; if that one fails, the next tries with its own blob.
        Calls for different layers work at the same time.

        Args:
            diff_id: sha256 of the uncompressed layer.
            open_blob: opens the blob; only called if the layer is not there.
            patience: seconds to wait while another call unpacks it.

        Raises:
            BadImage: `diff_id` or the layer cannot be used.
            DeadlineExceeded: another call is still unpacking it.
            Exhausted, HostLacks: as `unpack_layer` says.
            Exception: whatever the blob raises.
        """
        checked_diff_id(diff_id)
        if not self._use(diff_id):
            with self._turns.of(diff_id, timeout=patience):
                if not self._use(diff_id):
                    self._add(diff_id, open_blob)
        return self._shelf.path(diff_id)

    def has(self, diff_id: str) -> bool:
        """True if the layer is there."""
        with self._lock:
            return diff_id in self._layers

    def path(self, diff_id: str) -> Path:
        """The layer's directory.

        Raises:
            NotFound: it is not there.
        """
        if not self.has(diff_id):
            raise NotFound(f"layer {diff_id} is not on this node")
        return self._shelf.path(diff_id)

    def stack(self, diff_ids: Sequence[str]) -> list[Path]:
        """The directories to mount for an image, the lowest first.

        Overlayfs refuses a directory given twice and takes no notice of a root marked opaque, so of a layer that an image
        has twice the upper one is kept (it does all the lower one did), and what lies below an opaque root is left out.

        Args:
            diff_ids: the image's layers, the lowest first, as its config lists them.

        Raises:
            NotFound: a layer is not there.
        """
        chosen: list[Path] = []
        for path in dict.fromkeys(self.path(diff_id) for diff_id in reversed(diff_ids)):
            chosen.append(path)
            if is_opaque(path):
                break
        return chosen[::-1]

    def sizes(self) -> dict[str, int]:
        """The bytes each layer takes on disk, about; the longest unused first."""
        with self._lock:
            return dict(self._layers)

    def pin(self, diff_id: str) -> None:
        """Keep the layer from being evicted, whether it is there or about to be made. Pins are counted."""
        with self._lock:
            self._pins[checked_diff_id(diff_id)] += 1

    def unpin(self, diff_id: str) -> None:
        """Take one pin back.

        Raises:
            WrongState: there is none.
        """
        with self._lock:
            if not self._pins[diff_id]:
                raise WrongState(f"layer {diff_id} is not pinned, so it cannot be unpinned")
            self._pins[diff_id] -= 1
            self._pins += Counter()  # drops the zeros

    @contextmanager
    def pinned(self, diff_ids: Iterable[str]) -> Iterator[None]:
        """Keep layers from being evicted during a block."""
        with ExitStack() as held:
            for diff_id in diff_ids:
                self.pin(diff_id)
                held.callback(self.unpin, diff_id)
            yield

    def evict(self, limit: int) -> list[str]:
        """Remove layers nobody has pinned, the longest unused first, until they all together take `limit` bytes or less.

        Returns:
            What was removed. If that was not enough, the rest is in use.
        """
        with self._lock:
            doomed = self._overflow(limit)
            places = [self._shelf.take_away(diff_id) for diff_id in doomed]
            for diff_id in doomed:
                del self._layers[diff_id]
        for place in places:
            self._shelf.delete(place)
        return doomed

    def flush(self) -> None:
        """Write all layers to the disk, so that they need not be made again after a crash of the machine.

        For quiet moments, such as a shutdown: it takes as long as the disk does.

        Raises:
            OSError: the disk says no.
        """
        self._shelf.flush()

    def _overflow(self, limit: int) -> list[str]:
        total = sum(self._layers.values())
        doomed = []
        for diff_id, size in self._layers.items():
            if total <= limit:
                break
            if not self._pins[diff_id]:
                doomed.append(diff_id)
                total -= size
        return doomed

    def _use(self, diff_id: str) -> bool:
        """True if the layer is there, and then it is the latest used."""
        with self._lock:
            if diff_id not in self._layers:
                return False
            self._layers.move_to_end(diff_id)
            self._shelf.touch(diff_id)
            return True

    def _add(self, diff_id: str, open_blob: OpenBlob) -> None:
        failpoint("layers.fetch")
        with open_blob() as chunks:
            size = self._shelf.add(diff_id, partial(self._unpack, diff_id, chunks))
        with self._lock:
            self._layers[diff_id] = size
        log.info("layer %s unpacked, %d bytes", diff_id, size)

    def _unpack(self, diff_id: str, chunks: Iterable[bytes], into: Path) -> Unpacked:
        failpoint("layers.unpack")
        return unpack_layer(chunks, into, diff_id=diff_id, shift=self._shift, limits=self._limits)
