"""The cache's SQLite file: layers, who possesses them, images per account, and their names.

Rows in and out, nothing else: what a row permits is decided in `cache`. One connection, used under the cache's lock; the
schema, with what each table means, is in schema.sql.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from tfcore.errors import WrongState
from tfcore.headroom import full_disk_told, keep_headroom
from tfcore.images.description import Layer
from tflocation.images.eviction import HeldImage, HeldLayer

VERSION = 1
_NEXT_USE = "(SELECT 1 + max(ifnull((SELECT max(used) FROM layer), 0), ifnull((SELECT max(used) FROM image), 0)))"


class ImageIndex:
    """The tables of one cache."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sqlite = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._sqlite.execute("PRAGMA journal_mode=WAL")
            self._sqlite.execute("PRAGMA foreign_keys=ON")
            self._prepare()
            keep_headroom(self._sqlite)
        except BaseException:
            self._sqlite.close()
            raise

    def _prepare(self) -> None:
        (version,) = self._sqlite.execute("PRAGMA user_version").fetchone()
        if version == 0:
            schema = files("tflocation.images").joinpath("schema.sql").read_text("utf-8")
            self._sqlite.executescript(f"BEGIN; {schema} PRAGMA user_version={VERSION}; COMMIT;")
        elif version != VERSION:
            raise WrongState(
                f"{self._path} has version {version} of the image cache; this program knows version {VERSION}",
                hint="run the program that wrote it, or give this one an empty directory",
            )

    def close(self) -> None:
        """Close the file."""
        self._sqlite.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block or nothing of it.

        Raises:
            Exhausted: the disk is full.
        """
        with full_disk_told(self._path):
            self._sqlite.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._sqlite.execute("COMMIT")
            except BaseException:
                if self._sqlite.in_transaction:  # a full disk has taken it back already
                    self._sqlite.execute("ROLLBACK")
                raise

    # layers and possession

    def layer(self, diff_id: str) -> Layer | None:
        """The layer, if its blob is stored."""
        found = self._sqlite.execute(
            "SELECT diff_id, digest, size, media_type FROM layer WHERE diff_id=?", (diff_id,)
        ).fetchone()
        return _layer(found) if found else None

    def add_layer(self, layer: Layer) -> None:
        """A blob has been stored."""
        self._sqlite.execute(
            f"INSERT INTO layer VALUES (?, ?, ?, ?, {_NEXT_USE})",
            (layer.diff_id, layer.digest, layer.size, layer.media_type),
        )

    def possesses(self, account: str, diff_id: str) -> bool:
        """True if the account has shown that it holds the layer, and the layer is still stored."""
        row = self._sqlite.execute("SELECT 1 FROM possession WHERE account=? AND diff_id=?", (account, diff_id))
        return row.fetchone() is not None

    def possessed(self, account: str) -> int:
        """Bytes of the layers it holds, as stored."""
        row = self._sqlite.execute(
            "SELECT ifnull(sum(size), 0) FROM possession JOIN layer USING (diff_id) WHERE account=?", (account,)
        ).fetchone()
        return int(row[0])

    def add_possession(self, account: str, diff_id: str) -> None:
        """The account holds the layer, which is stored."""
        self._sqlite.execute("INSERT OR IGNORE INTO possession VALUES (?, ?)", (account, diff_id))

    def layers(self) -> list[HeldLayer]:
        """Every layer."""
        return [HeldLayer(*row) for row in self._sqlite.execute("SELECT diff_id, size, used FROM layer")]

    def drop_layers(self, diff_ids: Iterable[str]) -> None:
        """Forget these layers, and every image that cannot be without them."""
        of = [(diff_id,) for diff_id in diff_ids]
        self._sqlite.executemany(
            "DELETE FROM image WHERE (account, config_digest) IN"
            " (SELECT account, config_digest FROM image_layer WHERE diff_id=?)",
            of,
        )
        self._sqlite.executemany("DELETE FROM layer WHERE diff_id=?", of)

    # images and names

    def add_image(self, account: str, config_digest: str, manifest_digest: str, diff_ids: Collection[str]) -> None:
        """Describe an image for an account, or again."""
        self._sqlite.execute("DELETE FROM image_layer WHERE account=? AND config_digest=?", (account, config_digest))
        self._sqlite.execute(
            f"INSERT INTO image VALUES (?, ?, ?, {_NEXT_USE}) ON CONFLICT DO UPDATE"
            " SET manifest_digest=excluded.manifest_digest, used=excluded.used",
            (account, config_digest, manifest_digest),
        )
        self._sqlite.executemany(
            "INSERT INTO image_layer VALUES (?, ?, ?, ?)",
            [(account, config_digest, position, diff_id) for position, diff_id in enumerate(diff_ids)],
        )

    def add_name(self, account: str, name: str, config_digest: str) -> None:
        """From now on the account means this image by `name`."""
        self._sqlite.execute("INSERT OR REPLACE INTO name VALUES (?, ?, ?)", (account, name, config_digest))

    def named(self, account: str, name: str) -> str | None:
        """The config digest of the account's image of that name."""
        found = self._sqlite.execute("SELECT config_digest FROM name WHERE account=? AND name=?", (account, name))
        row: tuple[str] | None = found.fetchone()
        return row[0] if row else None

    def identified(self, account: str, id_prefix: str) -> list[str]:
        """The config digests of the account's images whose id, ours or the one Docker gave, begins so."""
        pattern = f"sha256:{id_prefix}*"
        rows = self._sqlite.execute(
            "SELECT config_digest FROM image WHERE account=?1 AND config_digest GLOB ?2"
            " UNION SELECT config_digest FROM name WHERE account=?1 AND name GLOB ?2",
            (account, pattern),
        )
        return [digest for (digest,) in rows]

    def layers_of(self, account: str, config_digest: str) -> tuple[Layer, ...]:
        """The image's layers, bottom first."""
        rows = self._sqlite.execute(
            "SELECT diff_id, digest, size, media_type FROM image_layer JOIN layer USING (diff_id)"
            " WHERE account=? AND config_digest=? ORDER BY position",
            (account, config_digest),
        )
        return tuple(_layer(row) for row in rows)

    def touch(self, account: str, config_digest: str) -> None:
        """The image is being used."""
        self._sqlite.execute(
            f"UPDATE image SET used={_NEXT_USE} WHERE account=? AND config_digest=?", (account, config_digest)
        )

    def names(self, account: str) -> list[tuple[str, str]]:
        """(name, config digest) of the account's images; an image without a name comes with its digest as the name."""
        rows = self._sqlite.execute(
            "SELECT name, config_digest FROM name WHERE account=?1 UNION ALL"
            " SELECT config_digest, config_digest FROM image WHERE account=?1 AND config_digest NOT IN"
            " (SELECT config_digest FROM name WHERE account=?1) ORDER BY 1",
            (account,),
        )
        return [(name, digest) for name, digest in rows]

    def all_names(self) -> list[tuple[str, str, str]]:
        """(account, name, manifest digest) of everything that has a name."""
        rows = self._sqlite.execute(
            "SELECT account, name, manifest_digest FROM name JOIN image USING (account, config_digest) ORDER BY 1, 2"
        )
        return [(account, name, digest) for account, name, digest in rows]

    def images(self) -> list[HeldImage]:
        """Every account's every image."""
        layers: dict[tuple[str, str], set[str]] = {}
        for account, digest, diff_id in self._sqlite.execute("SELECT account, config_digest, diff_id FROM image_layer"):
            layers.setdefault((account, digest), set()).add(diff_id)
        rows = self._sqlite.execute("SELECT account, config_digest, used FROM image")
        return [HeldImage(account, digest, used, frozenset(layers[account, digest])) for account, digest, used in rows]

    def drop_name(self, account: str, name: str) -> bool:
        """Forget the name; False if there is none."""
        return self._sqlite.execute("DELETE FROM name WHERE account=? AND name=?", (account, name)).rowcount > 0

    def is_named(self, account: str, config_digest: str) -> bool:
        """True if the image still has a name."""
        found = self._sqlite.execute("SELECT 1 FROM name WHERE account=? AND config_digest=?", (account, config_digest))
        return found.fetchone() is not None

    def drop_image(self, account: str, config_digest: str) -> None:
        """Forget the image and its names; its layers stay until they are evicted."""
        self._sqlite.execute("DELETE FROM image WHERE account=? AND config_digest=?", (account, config_digest))

    def drop_account(self, account: str) -> None:
        """Forget all the account has, and what it has shown possession of."""
        self._sqlite.execute("DELETE FROM image WHERE account=?", (account,))
        self._sqlite.execute("DELETE FROM possession WHERE account=?", (account,))

    def blobs(self) -> set[str]:
        """The digests of all blobs that something here refers to."""
        rows = self._sqlite.execute(
            "SELECT digest FROM layer UNION SELECT config_digest FROM image UNION SELECT manifest_digest FROM image"
        )
        return {digest for (digest,) in rows}


def _layer(row: tuple[str, str, int, str]) -> Layer:
    diff_id, digest, size, media_type = row
    return Layer(diff_id=diff_id, digest=digest, size=size, media_type=media_type)
