"""Images made by hand for tests, in every form users have them, without Docker.

    image = SampleImage([{"bin/hello": program(b"#!/bin/sh")}, {"etc/motd": "hi", **removed("etc/old")}], {"User": "web"})
    archive = image.docker_archive(tmp_path / "hello.tar")          # as `docker save` of Docker 24
    archive = image.docker_archive(tmp_path / "hello.tar", form="oci")   # as `docker save` of Docker 25 and later
    layout = image.oci_layout(tmp_path / "hello", pack=gzipped)
    tar = rootfs_tar(tmp_path / "root.tar", {"bin/sh": program(b"...")})

A layer is a dict of path -> content; text, bytes, or an `Item` for everything that is not a plain file. Parents are made.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One member of a layer."""

    type: bytes = tarfile.REGTYPE
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = 1_700_000_000
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, str] = field(default_factory=dict)


Content = bytes | str | Item
Layer = Mapping[str, Content]
Pack = Callable[[bytes], bytes]


def program(content: bytes, **fields: Any) -> Item:
    """An executable file."""
    return Item(content=content, **{"mode": 0o755, **fields})


def directory(**fields: Any) -> Item:
    return Item(type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def symlink(target: str) -> Item:
    return Item(type=tarfile.SYMTYPE, target=target, mode=0o777)


def hardlink(target: str) -> Item:
    return Item(type=tarfile.LNKTYPE, target=target)


def fifo(**fields: Any) -> Item:
    return Item(type=tarfile.FIFOTYPE, **fields)


def character_device(major: int, minor: int, **fields: Any) -> Item:
    return Item(type=tarfile.CHRTYPE, device=(major, minor), **fields)


def removed(path: str) -> Layer:
    """The whiteout that removes what a lower layer has at `path`."""
    head, tail = posixpath.split(path)
    return {posixpath.join(head, f".wh.{tail}"): b""}


def opaque(path: str) -> Layer:
    """The marker that hides everything lower layers have in the directory `path`."""
    return {posixpath.join(path, ".wh..wh..opq"): b""}


def layer_tar(layer: Layer) -> bytes:
    """A layer's tar: members in the order of the dict, each behind its parents."""
    buffer = io.BytesIO()
    made: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, content in layer.items():
            for parent in _parents(path):
                if parent not in made and parent not in layer:
                    made.add(parent)
                    _add(tar, parent, directory())
            made.add(path)
            _add(tar, path, content)
    return buffer.getvalue()


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _add(tar: tarfile.TarFile, path: str, content: Content) -> None:
    item = (
        content
        if isinstance(content, Item)
        else Item(content=content.encode() if isinstance(content, str) else content)
    )
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.uid, info.gid, info.mtime = item.type, item.mode, item.uid, item.gid, item.mtime
    info.linkname, info.size = item.target, len(item.content)
    info.devmajor, info.devminor = item.device
    info.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in item.xattrs.items()}
    tar.addfile(info, io.BytesIO(item.content))


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def plain(data: bytes) -> bytes:
    return data


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


@dataclass(frozen=True)
class SampleImage:
    """An image: layers bottom first, the `config` section of its config, and what it was built for."""

    layers: Sequence[Layer]
    config: Mapping[str, Any] = field(default_factory=dict)
    architecture: str = "amd64"
    variant: str = ""
    os: str = "linux"

    @cached_property
    def tars(self) -> list[bytes]:
        return [layer_tar(layer) for layer in self.layers]

    @property
    def diff_ids(self) -> list[str]:
        return [digest(tar) for tar in self.tars]

    @cached_property
    def config_json(self) -> bytes:
        """The image config; its digest is the image's id."""
        platform = {
            "architecture": self.architecture,
            "os": self.os,
            **({"variant": self.variant} if self.variant else {}),
        }
        rootfs = {"type": "layers", "diff_ids": self.diff_ids}
        return json.dumps({**platform, "config": dict(self.config), "rootfs": rootfs, "history": []}).encode()

    @property
    def id(self) -> str:
        return digest(self.config_json)

    def docker_archive(
        self,
        path: Path,
        *,
        tags: Sequence[str] = ("sample:latest",),
        form: Literal["classic", "oci"] = "classic",
        pack: Pack = plain,
    ) -> Path:
        """Write what `docker save` writes."""
        members = classic_members(self, tags, pack) if form == "classic" else oci_members(self, tags, pack)
        write_tar(path, members)
        return path

    def oci_layout(self, path: Path, *, tag: str | None = "latest", pack: Pack = plain) -> Path:
        """Write an OCI layout directory."""
        blobs = Blobs()
        blobs.write(path, [blobs.image(self, name=tag, pack=pack)])
        return path


class Blobs:
    """The blobs of an OCI layout in the making; each method adds one and returns its descriptor."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def add(self, data: bytes, media_type: str, **fields: Any) -> dict[str, Any]:
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **fields}

    def layer(self, tar: bytes, pack: Pack = plain) -> dict[str, Any]:
        packed = pack(tar)
        return self.add(packed, LAYER + ("+gzip" if packed.startswith(b"\x1f\x8b") else ""))

    def image(
        self, image: SampleImage, *, name: str | None = None, pack: Pack = plain, platform: bool = False
    ) -> dict[str, Any]:
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add(image.config_json, CONFIG),
            "layers": [self.layer(tar, pack) for tar in image.tars],
        }
        fields: dict[str, Any] = {"annotations": {REF_NAME: name}} if name else {}
        if platform:
            fields["platform"] = {"os": image.os, "architecture": image.architecture, "variant": image.variant}
        return self.add(json.dumps(manifest).encode(), MANIFEST, **fields)

    def index(self, manifests: Sequence[Mapping[str, Any]], *, name: str | None = None) -> dict[str, Any]:
        data = index_json(manifests)
        return self.add(data, INDEX, **({"annotations": {REF_NAME: name}} if name else {}))

    def write(self, path: Path, manifests: Sequence[Mapping[str, Any]]) -> Path:
        """Write the layout with these descriptors in its index.json."""
        for name, data in self.members(manifests).items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return path

    def members(self, manifests: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
        """File name -> content of the layout."""
        blobs = {f"blobs/sha256/{key.removeprefix('sha256:')}": data for key, data in self.blobs.items()}
        return {**blobs, "index.json": index_json(manifests), "oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}


def index_json(manifests: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}).encode()


def classic_members(image: SampleImage, tags: Sequence[str], pack: Pack = plain) -> dict[str, Content]:
    """The members of the older form; a layer that occurs twice is a link, as Docker writes it."""
    members: dict[str, Content] = {}
    names: list[str] = []
    first: dict[str, str] = {}
    for position, tar in enumerate(image.tars):
        name = f"{digest(b'%d' % position + tar).removeprefix('sha256:')}/layer.tar"
        again = first.setdefault(digest(tar), name)
        members[name] = pack(tar) if again == name else symlink(f"../{again}")
        names.append(name)
    config = f"{image.id.removeprefix('sha256:')}.json"
    members[config] = image.config_json
    members["manifest.json"] = json.dumps([{"Config": config, "RepoTags": list(tags), "Layers": names}]).encode()
    return members


def oci_members(image: SampleImage, tags: Sequence[str], pack: Pack = plain) -> dict[str, Content]:
    """The members of today's form: an OCI layout and a manifest.json beside it."""
    blobs = Blobs()
    descriptor = blobs.image(image, pack=pack)
    named = [
        {**descriptor, "annotations": {REF_NAME: tag.rpartition(":")[2], CONTAINERD_NAME: tag}} for tag in tags
    ] or [descriptor]
    saved = {
        "Config": f"blobs/sha256/{image.id.removeprefix('sha256:')}",
        "RepoTags": list(tags),
        "Layers": [f"blobs/sha256/{digest(pack(tar)).removeprefix('sha256:')}" for tar in image.tars],
    }
    return {**blobs.members(named), "manifest.json": json.dumps([saved]).encode()}


def write_tar(path: Path, members: Mapping[str, Content]) -> Path:
    """A tar with exactly these members, without parents."""
    with tarfile.open(path, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            _add(tar, name, content)
    return path


def rootfs_tar(path: Path, files: Layer, *, config: Mapping[str, Any] | None = None, pack: Pack = plain) -> Path:
    """The tar of a root file system and, if given, the config beside it."""
    path.write_bytes(pack(layer_tar(files)))
    if config is not None:
        path.with_name(f"{path.name}.json").write_text(json.dumps(config))
    return path
