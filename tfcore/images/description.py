"""What an image is: its config and its layers, read from the JSON that Docker and OCI tools write, and checked.

Fields we do not know are skipped, since every tool adds its own. The format is that of the OCI image specification
(config.md), which is also what `docker save` writes. Knows no files, no cache and no wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from tfcore.errors import BadImage
from tfcore.images.digest import check_digest, digest_of
from tfcore.images.platforms import Platform

CONFIG_SIZE = 8 * 1024 * 1024
"""Bytes an image config may have; real ones have a few thousand."""

DOCUMENT_SIZE = CONFIG_SIZE
"""Bytes any other JSON document of an image (manifest, index) may have; the limit registries use is half of it."""

MAX_LAYERS = 256
"""Layers an image may have. Docker stops at 127; overlayfs at 500, some of which are for snapshots."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ExposedPort:
    """A port the image says it listens on."""

    number: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """How the image tells whether it is well.

    Attributes:
        test: ("CMD", argument…), ("CMD-SHELL", line) or ("NONE",).
        interval, timeout, start_period, start_interval: seconds; 0 where the image leaves it to us.
        retries: failures in a row that count; 0 where the image leaves it to us.
    """

    test: tuple[str, ...]
    interval: float = 0.0
    timeout: float = 0.0
    start_period: float = 0.0
    start_interval: float = 0.0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says about the containers made from it.

    Attributes:
        entrypoint, cmd: the command is one after the other.
        env: NAME=value lines, in the image's order.
        working_dir: "" for the root directory.
        user: "" for root, else name or id, perhaps with :group.
        exposed_ports: by number.
        volumes: paths whose content is not the image's.
        stop_signal: "" for SIGTERM.
        healthcheck: None if the image has none.
        labels: as they are.
        platform: what it was built for.
        diff_ids: the digests of the uncompressed layers, bottom first.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    exposed_ports: tuple[ExposedPort, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    labels: dict[str, str]
    platform: Platform
    diff_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer as it is stored: `diff_id` is the digest of its uncompressed tar, `digest` and `size` are the blob's."""

    diff_id: str
    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDescription:
    """An image whose layers are all known.

    Attributes:
        config_digest: the digest of `config`: the image's id.
        config: the config's JSON, byte for byte.
        layers: bottom first; the same layer may occur twice.
    """

    config_digest: str
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Bytes of all different layers as stored."""
        return sum({layer.diff_id: layer.size for layer in self.layers}.values())


def describe(config: bytes, layers: tuple[Layer, ...]) -> ImageDescription:
    """The description of an image, after checking that config and layers belong together.

    Raises:
        BadImage: the config is not one, or the layers are not those it names.
    """
    diff_ids = parse_config(config).diff_ids
    if len(layers) != len(diff_ids):
        raise BadImage(f"the image's config names {len(diff_ids)} layers, but {len(layers)} were given")
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        check_digest(layer.digest, what="layer")
        if layer.diff_id != diff_id:
            raise BadImage(f"the image's config names the layer {diff_id}, but {layer.diff_id} was given")
    return ImageDescription(config_digest=digest_of(config), config=config, layers=layers)


class _Healthcheck(Struct, rename="pascal"):
    test: list[str] | None = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


class ContainerSection(Struct, rename="pascal"):
    """The `config` object of an image config: how its containers run. Docker writes null where it has nothing."""

    entrypoint: list[str] | str | None = None
    cmd: list[str] | str | None = None
    env: list[str] | None = None
    working_dir: str | None = None
    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    volumes: dict[str, Any] | None = None
    stop_signal: str | None = None
    healthcheck: _Healthcheck | None = None
    labels: dict[str, str] | None = None


class _RootFs(Struct):
    diff_ids: list[str] | None = None


class _ConfigFile(Struct):
    rootfs: _RootFs
    architecture: str = ""
    os: str = ""
    variant: str = ""
    config: ContainerSection | None = None


def parse_config(raw: bytes) -> ImageConfig:
    """An image config's JSON as an `ImageConfig`.

    Raises:
        BadImage: too large, not JSON, wrong types, no layers or too many, digests other than sha256, not for Linux.
    """
    if len(raw) > CONFIG_SIZE:
        raise BadImage(f"the image's config has {len(raw)} bytes; more than {CONFIG_SIZE} are refused")
    file = decode_json(raw, _ConfigFile, what="the image's config")
    section = file.config or ContainerSection()
    if file.os not in ("", "linux"):
        raise BadImage(f"the image is for {file.os}, and only Linux images can run here")
    return ImageConfig(
        entrypoint=_words(section.entrypoint),
        cmd=_words(section.cmd),
        env=tuple(section.env or ()),
        working_dir=section.working_dir or "",
        user=section.user or "",
        exposed_ports=_ports(section.exposed_ports or {}),
        volumes=tuple(sorted(section.volumes or ())),
        stop_signal=section.stop_signal or "",
        healthcheck=_healthcheck(section.healthcheck),
        labels=section.labels or {},
        platform=Platform(file.os or "linux", file.architecture, file.variant).plain,
        diff_ids=_diff_ids(file.rootfs.diff_ids or []),
    )


def decode_json(raw: bytes, kind: type[T], *, what: str) -> T:
    """`raw` as a `kind`. Raises `BadImage` naming `what` and the place where it is wrong."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise BadImage(f"{what} cannot be read: {wrong}") from wrong


def _words(command: list[str] | str | None) -> tuple[str, ...]:
    """Images of Docker's first years have a string here, which is one word, not a line for a shell."""
    return (command,) if isinstance(command, str) else tuple(command or ())


def _ports(exposed: dict[str, Any]) -> tuple[ExposedPort, ...]:
    return tuple(sorted((_port(text) for text in exposed), key=lambda port: (port.number, port.protocol)))


def _port(text: str) -> ExposedPort:
    number, _, protocol = text.partition("/")
    if not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
        raise BadImage(f"the image exposes {text!r}, which is not a port")
    return ExposedPort(int(number), protocol or "tcp")


def _healthcheck(check: _Healthcheck | None) -> Healthcheck | None:
    if check is None or not check.test:
        return None
    return Healthcheck(
        test=tuple(check.test),
        interval=_seconds(check.interval),
        timeout=_seconds(check.timeout),
        start_period=_seconds(check.start_period),
        start_interval=_seconds(check.start_interval),
        retries=check.retries or 0,
    )


def _seconds(nanoseconds: int | None) -> float:
    return (nanoseconds or 0) / 1e9


def _diff_ids(digests: list[str]) -> tuple[str, ...]:
    if not digests:
        raise BadImage("the image has no layers: there is nothing to run in it")
    if len(digests) > MAX_LAYERS:
        raise BadImage(f"the image has {len(digests)} layers; more than {MAX_LAYERS} cannot be mounted")
    return tuple(check_digest(digest, what="the image's config") for digest in digests)
