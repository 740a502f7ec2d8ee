"""The image cache of a location: blobs shared by all, descriptions per account (seed 002, Images; DESIGN D5).

The life of an image here: its layers arrive (`put_layer`) or are proved to be held (`grant`), one by one and from several
clients at once; when the account possesses all of them the image is described (`tag`); nodes fetch its blobs
(`open_blob`); it goes when its name is removed or space is short (`evict`). An account sees an image only if it has
described it, and can describe it only with layers it has shown possession of: knowing a digest is worth nothing.

Safe for several threads of one process; a lock file keeps other processes out. What arrives is streamed outside the lock.
Knows no sockets, no sessions (a pin's holder is any string) and no Docker.
"""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tfcore.errors import BadImage, ImageNotFound, NotFound, WrongState
from tfcore.images.chunks import chunks_of
from tfcore.images.compression import DEFAULT_EXPANSION, GIB, Expansion, expanded
from tfcore.images.description import ImageDescription, Layer, describe, parse_config
from tfcore.images.digest import check_digest
from tfcore.images.reference import Scheme, parse_reference
from tfcore.undo import Undo
from tflocation.images.blobs import BlobStore
from tflocation.images.eviction import choose_victims
from tflocation.images.index import ImageIndex
from tflocation.images.ingest import ingest
from tflocation.images.layout import index_entry, manifest_of

log = logging.getLogger(__name__)

NAME_LENGTH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """What one layer may be.

    Args:
        blob: bytes as stored.
        expansion: what it may grow to.
    """

    blob: int = 32 * GIB
    expansion: Expansion = DEFAULT_EXPANSION


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedImage:
    """One line of an account's list; `name` is the config digest if the image has no name."""

    name: str
    config_digest: str
    size: int
    layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUsage:
    """What the cache holds, for all accounts. `size` is bytes on disk, `pinned` the part that eviction leaves alone."""

    size: int
    pinned: int
    layers: int
    images: int


class ImageCache:
    """See the module's story. Close it when done."""

    def __init__(self, root: Path, *, limits: CacheLimits | None = None) -> None:
        """Open the cache in `root`, which is made if need be, and remove what a crash left behind.

        Raises:
            WrongState: another process has it open, or it was written by a newer version.
        """
        self._limits = limits or CacheLimits()
        self._lock = threading.RLock()
        self._pins: dict[str, frozenset[str]] = {}
        with Undo() as undo:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._owner = _owned(root)
            undo.push(self._owner.close)
            self._blobs = BlobStore(root)
            self._index = ImageIndex(root / "images.sqlite")
            undo.push(self._index.close)
            self._recover()
            undo.done()

    def _recover(self) -> None:
        """Make rows and files agree: a row without its blob, a blob without a row."""
        sizes = self._blobs.sizes()
        lost = [layer.diff_id for layer in self._stored_layers() if sizes.get(layer.digest) != layer.size]
        if lost:
            log.warning("%d layers of the image cache have lost their blobs and are forgotten: %s", len(lost), lost)
            with self._index.transaction():
                self._index.drop_layers(lost)
        self._tidy()

    def _stored_layers(self) -> Iterator[Layer]:
        for held in self._index.layers():
            layer = self._index.layer(held.diff_id)
            if layer is not None:
                yield layer

    def _tidy(self) -> None:
        """Blobs nobody refers to go, and the layout's index says what is left."""
        self._blobs.retain(self._index.blobs())
        self._write_layout_index()

    def _write_layout_index(self) -> None:
        sizes = self._blobs.sizes()
        self._blobs.write_index(
            index_entry(account, name, digest=digest, size=sizes[digest])
            for account, name, digest in self._index.all_names()
        )

    def close(self) -> None:
        """Close the index and let other processes in."""
        with self._lock:
            self._index.close()
            self._owner.close()

    # layers

    def has(self, diff_id: str) -> bool:
        """True if the layer is stored, whoever brought it."""
        with self._lock:
            return self._index.layer(diff_id) is not None

    def possesses(self, account: str, diff_id: str) -> bool:
        """True if the layer is stored and `account` has shown that it holds it."""
        with self._lock:
            return self._index.possesses(account, diff_id)

    def possessed(self, account: str) -> int:
        """Bytes of the stored layers that `account` has shown to hold."""
        with self._lock:
            return self._index.possessed(account)

    def put_layer(self, account: str, diff_id: str, chunks: Iterable[bytes | memoryview]) -> Layer:
        """Store a layer; sending it shows possession.

        Args:
            account: who sends it.
            diff_id: the digest of its uncompressed bytes.
            chunks: the blob as the client has it, plain, gzip or zstd; an error it raises goes through, and nothing is left.

        Returns:
            The layer as stored, which is as the first sender sent it if two came at once.

        Raises:
            BadImage: the bytes are not that layer, or break the limits; nothing is left of them.
            Exhausted: the disk is full.
        """
        check_digest(diff_id, what="layer")
        limits = self._limits
        with self._blobs.incoming() as blob:
            layer = ingest(chunks, blob.write, diff_id=diff_id, limit=limits.blob, allowed=limits.expansion)
            blob.sync()
            with self._lock, self._index.transaction():
                stored = self._index.layer(diff_id)
                if stored is None:
                    blob.keep(layer.digest)
                    self._index.add_layer(layer)
                self._index.add_possession(account, diff_id)
                return stored or layer

    def grant(self, account: str, diff_id: str) -> None:
        """`account` has proved that it holds the layer (see `uploads`).

        Raises:
            NotFound: the layer is not stored.
        """
        with self._lock, self._index.transaction():
            self._known(diff_id)
            self._index.add_possession(account, diff_id)

    def _known(self, diff_id: str) -> Layer:
        layer = self._index.layer(diff_id)
        if layer is None:
            raise NotFound(f"the cache has no layer {diff_id}")
        return layer

    @contextmanager
    def open_blob(self, digest: str) -> Iterator[Iterator[bytes]]:
        """The chunks of a blob as stored, for nodes.

        Raises:
            NotFound: no such blob.
            BadImage: not a digest.
        """
        with self._blobs.open(digest) as file:
            yield chunks_of(file)

    @contextmanager
    def open_content(self, diff_id: str) -> Iterator[Iterator[bytes]]:
        """The uncompressed chunks of a layer, to compute with.

        Raises:
            NotFound: the layer is not stored.
        """
        with self._lock:
            digest = self._known(diff_id).digest
        with self.open_blob(digest) as chunks:
            yield expanded(chunks, what=f"layer {diff_id}", allowed=self._limits.expansion)

    # images

    def tag(self, account: str, name: str, config: bytes) -> ImageDescription:
        """Describe an image for an account, and mean it by `name` from now on.

        Args:
            account: whose image.
            name: canonical, see `tfcore.images.reference`.
            config: the image config's JSON; the layers it names must be stored and possessed.

        Raises:
            BadImage: config or name cannot be used.
            WrongState: layers are missing; the details name the first.
        """
        diff_ids = parse_config(config).diff_ids
        _check_name(name)
        with self._lock:
            image = describe(config, tuple(self._possessed(account, diff_id) for diff_id in diff_ids))
            self._blobs.put(config)
            manifest = self._blobs.put(manifest_of(image))
            with self._index.transaction():
                self._index.add_image(account, image.config_digest, manifest, diff_ids)
                self._index.add_name(account, name, image.config_digest)
            self._write_layout_index()
        return image

    def _possessed(self, account: str, diff_id: str) -> Layer:
        layer = self._index.layer(diff_id)
        if layer is None or not self._index.possesses(account, diff_id):
            raise WrongState(
                f"layer {diff_id} has not been uploaded by {account}",
                hint="offer the image again and send what is missing",
                details={"diff_id": diff_id},
            )
        return layer

    def describe(self, account: str, name: str) -> ImageDescription:
        """The account's image of that name: as filed, as a user writes it, or the beginning of an image's id.

        It counts as a use, for eviction.

        Raises:
            ImageNotFound: the account has none.
            BadImage: not a name, or an id that several images begin with.
        """
        with self._lock:
            digest = self._resolve(account, name)
            self._index.touch(account, digest)
            with self._blobs.open(digest) as file:
                config = file.read()
            return describe(config, self._index.layers_of(account, digest))

    def _resolve(self, account: str, name: str) -> str:
        digest = self._index.named(account, name) or self._by_reference(account, name)
        if digest is None:
            raise ImageNotFound(f"{account} has no image {name} in the location's cache", details={"image": name})
        return digest

    def _by_reference(self, account: str, text: str) -> str | None:
        reference = parse_reference(text)
        if reference.scheme is not Scheme.NAME:
            return None
        digest = self._index.named(account, reference.target)
        if digest is None and reference.id_prefix is not None:
            return self._by_id(account, reference.id_prefix)
        return digest

    def _by_id(self, account: str, id_prefix: str) -> str | None:
        found = self._index.identified(account, id_prefix)
        if len(found) > 1:
            raise BadImage(f"several images have an id that begins with {id_prefix}", hint="give more of its digits")
        return found[0] if found else None

    def images(self, account: str) -> tuple[CachedImage, ...]:
        """The account's images by name."""
        with self._lock:
            return tuple(self._line(account, name, digest) for name, digest in self._index.names(account))

    def _line(self, account: str, name: str, config_digest: str) -> CachedImage:
        layers = self._index.layers_of(account, config_digest)
        size = sum({layer.diff_id: layer.size for layer in layers}.values())
        return CachedImage(name=name, config_digest=config_digest, size=size, layers=len(layers))

    def remove(self, account: str, name: str) -> None:
        """Forget a name; with its last name (or by its id) the image itself. Layers stay until they are evicted.

        Raises:
            ImageNotFound: the account has no such image.
            BadImage: not a name, or an id that several images begin with.
        """
        with self._lock:
            digest = self._resolve(account, name)
            with self._index.transaction():
                if not self._drop_name(account, name) or not self._index.is_named(account, digest):
                    self._index.drop_image(account, digest)
            self._tidy()

    def _drop_name(self, account: str, name: str) -> bool:
        return self._index.drop_name(account, name) or self._index.drop_name(account, parse_reference(name).target)

    def forget_account(self, account: str) -> None:
        """All of an account's descriptions and possessions are gone; layers stay until they are evicted."""
        with self._lock:
            with self._index.transaction():
                self._index.drop_account(account)
            self._tidy()

    # space

    def pin(self, holder: str, diff_ids: Collection[str]) -> None:
        """Keep these layers, stored or still to come, from being evicted, beside those `holder` already pins.

        Pins are not written down: whoever holds them after a restart pins again.
        """
        with self._lock:
            self._pins[holder] = self._pins.get(holder, frozenset()) | frozenset(diff_ids)

    def unpin(self, holder: str) -> None:
        """`holder` no longer needs anything; harmless if it never did."""
        with self._lock:
            self._pins.pop(holder, None)

    def _pinned(self) -> frozenset[str]:
        return frozenset().union(*self._pins.values())

    def evict(self, limit: int) -> int:
        """Bring the layers down to `limit` bytes: the images used longest ago go first, never what is pinned.

        Returns:
            The bytes freed; less than necessary if the rest is pinned.
        """
        with self._lock:
            layers = self._index.layers()
            excess = sum(layer.size for layer in layers) - limit
            victims = choose_victims(self._index.images(), layers, pinned=self._pinned(), excess=excess)
            with self._index.transaction():
                for image in victims.images:
                    log.info("evicting image %s of %s", image.config_digest, image.account)
                    self._index.drop_image(image.account, image.config_digest)
                self._index.drop_layers(victims.layers)
            self._tidy()
            return sum(layer.size for layer in layers if layer.diff_id in set(victims.layers))

    def usage(self) -> CacheUsage:
        """What is held now."""
        with self._lock:
            layers, pinned = self._index.layers(), self._pinned()
            return CacheUsage(
                size=sum(layer.size for layer in layers),
                pinned=sum(layer.size for layer in layers if layer.diff_id in pinned),
                layers=len(layers),
                images=len(self._index.images()),
            )


def _owned(root: Path) -> IO[str]:
    lock = (root / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        lock.close()
        raise WrongState(
            f"the image cache {root} is in use by another process",
            hint="stop the other location, or use another directory",
        ) from taken
    return lock


def _check_name(name: str) -> None:
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
        raise BadImage(f"{name[:100]!r} cannot name an image", hint=f"up to {NAME_LENGTH} printable characters")
