"""An image whose layers lie in files that can be opened at will: archives, layouts and root file systems alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tfcore.errors import BadImage
from tfcore.images.digest import verified
from tfnz.images.files import Files, file_chunks
from tfnz.images.source import Progress


@dataclass(frozen=True, slots=True)
class LayerFile:
    """Where a layer is.

    Attributes:
        file: its name among the image's files.
        digest: what the file must hash to, if a manifest says so.
        size: its bytes, if a manifest says so.
    """

    file: str
    digest: str | None = None
    size: int | None = None


class StoredImage:
    """An `ImageSource` over files."""

    def __init__(
        self, name: str, config: bytes, files: Files, *, diff_ids: Sequence[str], layers: Sequence[LayerFile]
    ) -> None:
        """Takes over `files`, unless it raises.

        Raises:
            BadImage: not as many layers as the config names, or the files of some are not there.
        """
        if len(diff_ids) != len(layers):
            raise BadImage(
                f"{files.where}: the image's config names {len(diff_ids)} layers, its manifest {len(layers)}"
            )
        self.name = name
        self.config = config
        self._files = files
        self._layers = dict(zip(diff_ids, layers, strict=True))
        for layer in self._layers.values():
            _check_size(files, layer)

    def read_out(self, diff_ids: Collection[str], progress: Progress) -> Mapping[str, int]:  # noqa: ARG002 - see the seam
        """Nothing to be done: the layers can be opened at will."""
        return {diff_id: self._files.size(self._layers[diff_id].file) for diff_id in diff_ids}

    @contextmanager
    def open_layer(self, diff_id: str) -> Iterator[Iterator[bytes]]:
        """The layer's file, checked as it goes by if the manifest said what it is."""
        layer = self._layers[diff_id]
        with file_chunks(self._files, layer.file) as chunks:
            if layer.digest is None:
                yield chunks
            else:
                what = f"{self._files.where}: layer {layer.digest}"
                yield verified(chunks, digest=layer.digest, size=layer.size, what=what)

    def close(self) -> None:
        """Close the files."""
        self._files.close()


def _check_size(files: Files, layer: LayerFile) -> None:
    found = files.size(layer.file)
    if layer.size is not None and layer.size != found:
        raise BadImage(f"{files.where}: {layer.file} has {found} bytes, and the manifest says {layer.size}")
