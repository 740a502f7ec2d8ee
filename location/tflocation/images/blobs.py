"""Blobs on disk as an OCI image layout: `oci-layout`, `index.json`, `blobs/sha256/<digits>`.

A blob is written aside, checked by whoever writes it, synced and renamed into place, so that a name in `blobs/` always
means its content, whatever crashed. Knows no accounts and no names; what is still wanted it is told.
The layout is that of the OCI image specification (image-layout.md), so that other tools can read the cache.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

from tfcore.errors import Exhausted, NotFound, StorageFailed
from tfcore.failpoints import failpoint
from tfcore.images.digest import digest_of, hex_of

log = logging.getLogger(__name__)


class Incoming:
    """A blob being written aside."""

    def __init__(self, file: IO[bytes], store: BlobStore) -> None:
        self._file = file
        self._store = store

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. Errors as `disk_explained`."""
        with disk_explained(self._store.root):
            failpoint("cache.write")
            self._file.write(chunk)

    def sync(self) -> None:
        """Everything is written: wait until the disk has it. Errors as `disk_explained`."""
        with disk_explained(self._store.root):
            self._file.flush()
            os.fsync(self._file.fileno())

    def keep(self, digest: str) -> None:
        """Put the synced blob in place under `digest`, which the caller has computed from all that was written.

        The same blob twice is one blob: the rename replaces it by its equal. Errors as `disk_explained`.
        """
        with disk_explained(self._store.root):
            failpoint("cache.place")
            os.replace(self._file.name, self._store.path(digest))
            sync_directory(self._store.blobs)


class BlobStore:
    """The directory; safe for several threads, not for several processes (see `ImageCache`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"
        self._aside = root / "incoming"
        for directory in (root, self.blobs, self._aside):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep_aside()
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def _sweep_aside(self) -> None:
        """What a crash left half written."""
        for path in self._aside.iterdir():
            log.info("removing %s, left by an interrupted upload", path.name)
            path.unlink()

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be. Raises `BadImage` unless `digest` is one."""
        return self.blobs / hex_of(digest)

    @contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """A new blob. Unless it was kept, nothing of it is left when the block ends."""
        with NamedTemporaryFile(dir=self._aside, delete=False) as file:
            try:
                yield Incoming(file, self)
            finally:
                Path(file.name).unlink(missing_ok=True)

    def put(self, data: bytes) -> str:
        """Store a small document; returns its digest."""
        digest = digest_of(data)
        if not self.path(digest).exists():
            with self.incoming() as blob:
                blob.write(data)
                blob.sync()
                blob.keep(digest)
        return digest

    def open(self, digest: str) -> IO[bytes]:
        """The blob for reading; it stays readable when it is removed meanwhile.

        Raises:
            NotFound: no such blob.
        """
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError as missing:
            raise NotFound(f"the cache has no blob {digest}") from missing

    def sizes(self) -> dict[str, int]:
        """Digest and bytes of every blob."""
        with os.scandir(self.blobs) as entries:
            return {f"sha256:{entry.name}": entry.stat().st_size for entry in entries}

    def retain(self, wanted: Set[str]) -> int:
        """Remove every blob but those; returns the bytes freed. Frees space and recovers from crashes alike."""
        freed = 0
        for digest, size in self.sizes().items():
            if digest not in wanted:
                self.path(digest).unlink()
                freed += size
        return freed

    def write_index(self, descriptors: Iterable[dict[str, Any]]) -> None:
        """Replace `index.json`. It is derived from the cache's own index and can always be written again."""
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": list(descriptors),
        }
        aside = self._aside / "index.json"
        with disk_explained(self.root):
            aside.write_text(json.dumps(document, indent=1))
            os.replace(aside, self.root / "index.json")


@contextmanager
def disk_explained(where: Path) -> Iterator[None]:
    """Turn what the disk refuses into an error that says which disk.

    Raises:
        Exhausted: it is full, or a quota on it is. StorageFailed: anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFailed(f"images cannot be kept in {where}: {error}", details={"path": str(where)}) from error
        raise Exhausted(
            f"no space left for images in {where}: {error.strerror}",
            hint="remove images from the cache, or give it a larger disk",
            details={"path": str(where)},
        ) from error


def sync_directory(path: Path) -> None:
    """Make renames in `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
