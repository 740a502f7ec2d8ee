"""OCI image layouts, in a directory or inside an archive: from `index.json` to one image for one platform.

The format is that of the OCI image specification (image-layout.md, image-index.md, manifest.md); Docker's own manifest types
are read as well, since tools copy them into layouts. Knows no daemon and no location.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct, field

from tfcore.errors import BadImage
from tfcore.images.description import DOCUMENT_SIZE, decode_json, parse_config
from tfcore.images.digest import digest_of, hex_of
from tfcore.images.platforms import Platform
from tfnz.images.files import DirectoryFiles, Files, read_document
from tfnz.images.stored import LayerFile, StoredImage

INDEX_TYPES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)
MANIFEST_TYPES = frozenset(
    {"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}
)
CONFIG_TYPES = frozenset({"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"})
LAYER_TYPES = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
)
"""Beginnings: the compression follows, and we look for ourselves. Layers to be fetched from elsewhere begin otherwise."""

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

NESTING = 4
"""Indexes within indexes; tools write one or two."""

MANIFESTS = 1000
"""Manifests looked at in one layout."""


class _Platform(Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _Descriptor(Struct, rename="camel"):
    digest: str
    size: int
    media_type: str = ""
    annotations: dict[str, str] | None = None
    platform: _Platform | None = None


class _Index(Struct, rename="camel"):
    manifests: list[_Descriptor] = field(default_factory=list)


class _Manifest(Struct, rename="camel"):
    config: _Descriptor
    layers: list[_Descriptor]


class Candidate(Struct, frozen=True):
    """A manifest that could be meant."""

    digest: str
    size: int
    platform: Platform
    name: str


def open_oci_directory(path: Path, *, tag: str | None, platform: Platform, name: str) -> StoredImage:
    """The image in an OCI layout directory; see `open_oci`.

    Raises:
        BadImage: not a layout, or none or several of its images are meant.
    """
    files = DirectoryFiles(path)
    if not path.is_dir():
        way = f"a file is given as docker-archive:{path}" if path.exists() else "the path ends at its first colon"
        raise BadImage(f"{path} is not a directory", hint=way)
    if not files.has("index.json"):
        raise BadImage(f"{path} has no index.json: it is not an OCI image layout")
    return open_oci(files, tag=tag, platform=platform, name=name)


def open_oci(files: Files, *, tag: str | None, platform: Platform, name: str) -> StoredImage:
    """The image in a layout.

    Args:
        files: where `index.json` and `blobs/` are; taken over by the image.
        tag: the reference name it has in the index; None if there is only one.
        platform: what it has to run on.
        name: what the location shall call it.

    Raises:
        BadImage: none or several images are meant (the message lists them), or the chosen one is incomplete.
    """
    candidates = list(_candidates(files))
    chosen = choose(candidates, tag=tag, platform=platform, where=str(files.where))
    manifest = decode_json(
        _blob(files, chosen.digest, chosen.size), _Manifest, what=f"{files.where}: manifest {chosen.digest}"
    )
    if manifest.config.media_type not in CONFIG_TYPES:
        raise BadImage(f"{files.where}: {chosen.digest} is not a container image but {manifest.config.media_type!r}")
    config = _blob(files, manifest.config.digest, manifest.config.size)
    layers = [_layer_file(files, layer) for layer in manifest.layers]
    return StoredImage(name, config, files, diff_ids=parse_config(config).diff_ids, layers=layers)


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _blob(files: Files, digest: str, size: int) -> bytes:
    """A small blob, checked."""
    if not 0 <= size <= DOCUMENT_SIZE:
        raise BadImage(f"{files.where}: {digest} claims {size} bytes; more than {DOCUMENT_SIZE} are refused")
    data = read_document(files, _blob_name(digest))
    if digest_of(data) != digest:
        raise BadImage(f"{files.where}: {digest} is damaged: its content has the digest {digest_of(data)}")
    return data


def _layer_file(files: Files, layer: _Descriptor) -> LayerFile:
    if not layer.media_type.startswith(LAYER_TYPES):
        raise BadImage(f"{files.where}: layers of the type {layer.media_type!r} cannot be used")
    return LayerFile(_blob_name(layer.digest), layer.digest, layer.size)


def _candidates(files: Files) -> Iterator[Candidate]:
    index = decode_json(read_document(files, "index.json"), _Index, what=f"{files.where}/index.json")
    for count, (descriptor, name) in enumerate(_manifests(files, index, name="", depth=0)):
        if count >= MANIFESTS:
            raise BadImage(f"{files.where} lists more than {MANIFESTS} manifests")
        yield Candidate(descriptor.digest, descriptor.size, _platform(files, descriptor), name)


def _manifests(files: Files, index: _Index, *, name: str, depth: int) -> Iterator[tuple[_Descriptor, str]]:
    """Every manifest below `index`, with the reference name that it, or an index above it, was given."""
    if depth > NESTING:
        raise BadImage(f"{files.where}: indexes are nested more than {NESTING} deep")
    for descriptor in index.manifests:
        own = _name_of(descriptor) or name
        if descriptor.media_type in INDEX_TYPES:
            data = _blob(files, descriptor.digest, descriptor.size)
            nested = decode_json(data, _Index, what=f"{files.where}: index {descriptor.digest}")
            yield from _manifests(files, nested, name=own, depth=depth + 1)
        elif descriptor.media_type in MANIFEST_TYPES and not _is_attestation(descriptor):
            yield descriptor, own


def _name_of(descriptor: _Descriptor) -> str:
    """The full name where there is one: Docker writes only the tag into the standard annotation."""
    annotations = descriptor.annotations or {}
    return annotations.get(CONTAINERD_NAME) or annotations.get(REF_NAME, "")


def _is_attestation(descriptor: _Descriptor) -> bool:
    """BuildKit files provenance beside the images, for a platform that does not exist."""
    return descriptor.platform is not None and descriptor.platform.os == "unknown"


def _platform(files: Files, descriptor: _Descriptor) -> Platform:
    """As the index says, else as the image's own config does."""
    told = descriptor.platform
    if told is not None and told.architecture:
        return Platform(told.os, told.architecture, told.variant).plain
    data = _blob(files, descriptor.digest, descriptor.size)
    config = decode_json(data, _Manifest, what=f"{files.where}: manifest {descriptor.digest}").config
    if config.media_type not in CONFIG_TYPES:
        return Platform("", "")
    raw = decode_json(_blob(files, config.digest, config.size), _Platform, what=f"{files.where}: {config.digest}")
    return Platform(raw.os, raw.architecture, raw.variant).plain


def choose(candidates: Sequence[Candidate], *, tag: str | None, platform: Platform, where: str) -> Candidate:
    """The one manifest that is meant.

    Raises:
        BadImage: none or several; the message lists what there is.
    """
    named = [one for one in candidates if tag is None or _is_called(one.name, tag)]
    if not named:
        raise BadImage(f"{where} has no image {tag or ''}".rstrip(), hint=_names(candidates))
    usable = [one for one in named if one.platform.same_machine(platform)]
    if not usable:
        there = ", ".join(sorted({str(one.platform) or "an unknown platform" for one in named}))
        raise BadImage(f"{where} has no image for {platform}, only for {there}")
    different = {one.digest: one for one in _best_variant(usable, platform)}
    if len(different) > 1:
        raise BadImage(f"{where} has several images for {platform}", hint=_names(list(different.values())))
    return next(iter(different.values()))


def _is_called(name: str, tag: str) -> bool:
    return name == tag or name.endswith((f":{tag}", f"/{tag}"))


def _best_variant(candidates: Sequence[Candidate], platform: Platform) -> Sequence[Candidate]:
    """The very variant if it is there, else those that ask for none, else whatever there is."""
    for variant in (platform.variant, ""):
        fitting = [one for one in candidates if one.platform.variant == variant]
        if fitting:
            return fitting
    return candidates


def _names(candidates: Sequence[Candidate]) -> str:
    names = sorted({one.name for one in candidates if one.name})
    return f"it has {', '.join(names)}: add one of the tags after a colon" if names else "none of its images has a name"
