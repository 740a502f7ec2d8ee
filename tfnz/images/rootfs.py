"""The tar of a root file system as an image of one layer, e.g. the output of mmdebstrap or `docker export`.

What it runs is told by a file beside it, NAME.json: the `config` object of an image config (Cmd, Env, ExposedPorts, …).
Without one it is a shell.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import msgspec

from tfcore.errors import BadImage
from tfcore.images.chunks import chunks_of
from tfcore.images.compression import Compression, compression_of, expanded
from tfcore.images.description import ContainerSection, decode_json, parse_config
from tfcore.images.digest import Digester
from tfcore.images.platforms import Platform
from tfnz.images.files import DirectoryFiles, open_file, read_document
from tfnz.images.stored import LayerFile, StoredImage

DEFAULT_SECTION: Mapping[str, Any] = {
    "Cmd": ["/bin/sh"],
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "WorkingDir": "/",
}

_KNOWN = frozenset(field.encode_name for field in msgspec.structs.fields(ContainerSection))


def open_rootfs(path: Path, *, platform: Platform, name: str) -> StoredImage:
    """The root file system in `path`; reads it once, since its digest is written nowhere.

    Args:
        path: a tar, plain or gzip.
        platform: what it is taken to be for: a tar does not say.
        name: what the location shall call it.

    Raises:
        BadImage: no tar, damaged, compressed otherwise, or the file beside it cannot be used.
    """
    files = DirectoryFiles(path.parent)
    with closing(open_file(path)) as file:
        _check_tar(file, path)
        diff_id = Digester(expanded(chunks_of(file), what=str(path))).exhaust()
    config = {
        "architecture": platform.architecture,
        "variant": platform.variant,
        "os": platform.os,
        "config": {**DEFAULT_SECTION, **_section(files, f"{path.name}.json")},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    raw = json.dumps(config, sort_keys=True).encode()
    return StoredImage(name, raw, files, diff_ids=parse_config(raw).diff_ids, layers=[LayerFile(path.name)])


def _check_tar(file: IO[bytes], path: Path) -> None:
    """Anything else would only be found out on a node."""
    head = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if compression_of(head) is not Compression.NONE:
        return
    try:
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError as error:
        raise BadImage(f"{path} is not a tar: {error}") from error


def _section(files: DirectoryFiles, name: str) -> dict[str, Any]:
    """The file beside the tar, if there is one. People write it, so a slip of the pen is an error here."""
    if not files.has(name):
        return {}
    what = f"{files.where / name}"
    raw = read_document(files, name)
    section = decode_json(raw, dict[str, Any], what=what)
    decode_json(raw, ContainerSection, what=what)
    unknown = sorted(section.keys() - _KNOWN)
    if unknown:
        raise BadImage(f"{what}: {', '.join(unknown)} means nothing", hint=f"it may have {', '.join(sorted(_KNOWN))}")
    return section
