"""Writes images down: as OCI image layouts, and as the archives `docker load` reads.

Knows only layers (uncompressed tar files) and configurations. Sources: OCI image specification 1.0 (image-layout.md,
manifest.md, config.md) and the Docker image specification 1.2 for the archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Layer:
    """An uncompressed layer on disk; its digest is therefore its diff id as well."""

    path: Path
    digest: str
    created_by: str


def image_config(settings: dict[str, Any], layers: Sequence[Layer], *, architecture: str, created: str) -> bytes:
    """The image's configuration document; `settings` is its `config` part, `architecture` is a Go name (amd64)."""
    return encode(
        {
            "created": created,
            "architecture": architecture,
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": created, "created_by": layer.created_by} for layer in layers],
        }
    )


def write_layout(directory: Path, reference: str, config: bytes, layers: Sequence[Layer]) -> None:
    """Write an image layout holding one image; layers are hard-linked where the file system allows it.

    The directory must not exist. Layouts that share a base layer then share its disk space, too.
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in layers:
        link_or_copy(layer.path, blobs / layer.digest.removeprefix("sha256:"))
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": put_blob(blobs, CONFIG, config),
            "layers": [
                {"mediaType": LAYER, "digest": layer.digest, "size": layer.path.stat().st_size} for layer in layers
            ],
        }
    )
    descriptor = put_blob(blobs, MANIFEST, manifest) | {"annotations": {REF_NAME: reference}}
    (directory / "index.json").write_bytes(encode({"schemaVersion": 2, "manifests": [descriptor]}))
    (directory / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))


def write_docker_archive(layout: Path, archive: Path) -> None:
    """Write the image of a layout made by `write_layout` as an archive for `docker load`."""
    blobs = layout / "blobs" / "sha256"
    descriptor = json.loads((layout / "index.json").read_bytes())["manifests"][0]
    manifest = json.loads((blobs / hex_of(descriptor)).read_bytes())
    names = [f"{hex_of(layer)}/layer.tar" for layer in manifest["layers"]]
    config_name = hex_of(manifest["config"]) + ".json"
    listing = [{"Config": config_name, "RepoTags": [descriptor["annotations"][REF_NAME]], "Layers": names}]
    with tarfile.open(archive, "w") as tar:
        for name, layer in zip(names, manifest["layers"], strict=True):
            tar.add(blobs / hex_of(layer), name)
        tar.add(blobs / hex_of(manifest["config"]), config_name)
        entry = tarfile.TarInfo("manifest.json")
        content = encode(listing)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))


def put_blob(blobs: Path, media_type: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


def hex_of(descriptor: dict[str, Any]) -> str:
    digest: str = descriptor["digest"]
    return digest.removeprefix("sha256:")


def encode(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
