"""Files written by `docker save`, `podman save` or `buildx --output type=oci`: both forms, compressed or not.

The classic form has a `manifest.json` that names each layer's member; today's Docker writes an OCI layout with a
`manifest.json` beside it; other tools write the layout alone. The first is understood wherever it is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from tfcore.errors import BadImage
from tfcore.images.description import decode_json, parse_config
from tfcore.images.platforms import Platform
from tfnz.images.files import Files, TarFiles, read_document
from tfnz.images.oci_layout import open_oci
from tfnz.images.stored import LayerFile, StoredImage

MANIFEST = "manifest.json"


class SavedImage(Struct, rename="pascal"):
    """One image in `manifest.json`."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


def open_docker_archive(path: Path, *, tag: str | None, platform: Platform, name: str) -> StoredImage:
    """The image in an archive.

    Args:
        path: the file.
        tag: which of its images; None if there is only one.
        platform: what it has to run on, where there is a choice.
        name: what the location shall call it.

    Raises:
        BadImage: not such an archive, cut off, or none or several of its images are meant (the message lists them).
    """
    files = TarFiles(path)
    try:
        return _open(files, tag=tag, platform=platform, name=name)
    except BaseException:
        files.close()
        raise


def _open(files: Files, *, tag: str | None, platform: Platform, name: str) -> StoredImage:
    if files.has(MANIFEST):
        return _open_saved(files, tag=tag, name=name)
    if files.has("index.json"):
        return open_oci(files, tag=tag, platform=platform, name=name)
    raise BadImage(
        f"{files.where} has neither manifest.json nor index.json: it is not an image archive",
        hint=f"the tar of a root file system is given as rootfs:{files.where}",
    )


def _open_saved(files: Files, *, tag: str | None, name: str) -> StoredImage:
    what = f"{files.where}: {MANIFEST}"
    images = decode_json(read_document(files, MANIFEST), list[SavedImage], what=what)
    image = choose(images, tag=tag, where=str(files.where))
    config = read_document(files, image.config)
    layers = [LayerFile(file) for file in image.layers or []]
    return StoredImage(name, config, files, diff_ids=parse_config(config).diff_ids, layers=layers)


def choose(images: Sequence[SavedImage], *, tag: str | None, where: str) -> SavedImage:
    """The one image that is meant.

    Raises:
        BadImage: none or several; the message lists what there is.
    """
    fitting = [image for image in images if tag is None or any(_is_called(each, tag) for each in image.repo_tags or [])]
    if len(fitting) == 1:
        return fitting[0]
    names = sorted(each for image in images for each in image.repo_tags or [])
    hint = f"it has {', '.join(names)}: add one of the tags after a colon" if names else "none of its images has a name"
    if not fitting:
        raise BadImage(f"{where} has no image {tag or ''}".rstrip(), hint=hint)
    raise BadImage(f"{where} has {len(fitting)} images{f' called {tag}' if tag else ''}", hint=hint)


def _is_called(name: str, tag: str) -> bool:
    """`1.2` and `web:1.2` and `web` all mean web:1.2, or web:latest in the last case, as anywhere in Docker."""
    return tag in (name, name.rpartition(":")[2]) or name.endswith(f"/{tag}") or name == f"{tag}:latest"
