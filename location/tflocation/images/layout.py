"""The OCI documents the cache writes beside its blobs, so that other tools can read them: manifests and their descriptors.

Pure. The cache itself never reads them back.
"""

from __future__ import annotations

import json
from typing import Any

from tfcore.images.description import ImageDescription, Layer

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
ACCOUNT = "nz.20ft.account"
"""Annotation: descriptions are per account, so the same name may stand in the index more than once."""


def manifest_of(image: ImageDescription) -> bytes:
    """The image's manifest: the same bytes for the same image, whoever it belongs to."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": image.config_digest, "size": len(image.config)},
        "layers": [_layer_descriptor(layer) for layer in image.layers],
    }
    return json.dumps(document, sort_keys=True).encode()


def _layer_descriptor(layer: Layer) -> dict[str, Any]:
    return {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}


def index_entry(account: str, name: str, *, digest: str, size: int) -> dict[str, Any]:
    """One line of `index.json`."""
    return {
        "mediaType": MANIFEST_TYPE,
        "digest": digest,
        "size": size,
        "annotations": {REF_NAME: name, ACCOUNT: account},
    }
