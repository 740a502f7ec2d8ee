"""What a location is told at its start: `location.toml` in its directory, and the command line over it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tfcore.errors import BadRequest, NotFound
from tflocation.addresses import DEFAULT_NETWORK
from tflocation.leases.machine import Terms

GIB = 1024**3
PORT = 5555
"""The one TCP port of a location (seed 000)."""

SOCKET_PATH = 100
"""Bytes; the kernel takes 107, and other sockets stand beside this one."""

_NAME = re.compile(r"\A[0-9A-Za-z]([0-9A-Za-z.-]{0,98}[0-9A-Za-z])?\Z")


class ConfigFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`location.toml`.

    Attributes:
        name: of the location; a host name, so that its key can be found in the DNS.
        address: where clients and nodes connect to; what invitations say.
        listen: TCP endpoints to listen on.
        network: where containers' addresses come from.
        lease: seconds a silent session is kept.
        node_lease: seconds a silent node is kept.
        image_space: GiB the image cache may take.
        kept_space: GiB an account's kept snapshots may take before the evictable ones among them go.
    """

    name: str
    address: str
    listen: tuple[str, ...] = (f"tcp://127.0.0.1:{PORT}",)
    network: str = str(DEFAULT_NETWORK)
    lease: Annotated[float, Meta(ge=5, le=86400)] = 120.0
    node_lease: Annotated[float, Meta(ge=3, le=86400)] = 10.0
    image_space: Annotated[float, Meta(gt=0)] = 50.0
    kept_space: Annotated[float, Meta(gt=0)] = 10.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """How one daemon runs.

    Attributes:
        directory: keys, store, images.
        run: sockets; private to this user.
        name: of the location.
        endpoints: all it listens on, `ipc://` included.
        network: where containers' addresses come from.
        terms: the leases'.
        image_space: bytes the image cache may take.
        kept_space: bytes an account's kept snapshots may take.
        metrics: loopback address and port to serve metrics on; None for nowhere.
    """

    directory: Path
    run: Path
    name: str
    endpoints: tuple[str, ...]
    network: IPv4Network = DEFAULT_NETWORK
    terms: Terms = field(default_factory=Terms)
    image_space: int = 50 * GIB
    kept_space: int = 10 * GIB
    metrics: tuple[str, int] | None = None


def read(path: Path) -> ConfigFile:
    """The configuration in a TOML file.

    Raises:
        NotFound: there is no such file.
        BadRequest: it makes no sense; the message names the field.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=ConfigFile)
    except FileNotFoundError as missing:
        raise NotFound(f"there is no {path}", hint="make a location first: tf-location init") from missing
    except msgspec.MsgspecError as bad:
        raise BadRequest(f"{path}: {bad}") from bad


def write(path: Path, config: ConfigFile) -> None:
    """Write the fields an operator is likely to change, with a word on each."""
    listen = ", ".join(_quoted(endpoint) for endpoint in config.listen)
    path.write_text(
        "# Read by `tf-location serve` at its start; docs/guides/location.md explains every line.\n"
        f"name = {_quoted(config.name)}\n"
        "# where clients and nodes connect to: what invitations say\n"
        f"address = {_quoted(config.address)}\n"
        "# what the daemon listens on\n"
        f"listen = [{listen}]\n"
        "# where containers' addresses come from: a network that nothing else uses\n"
        f"network = {_quoted(config.network)}\n"
        "# seconds a silent session is kept\n"
        f"lease = {config.lease:g}\n"
        "# GiB the image cache may take\n"
        f"image_space = {config.image_space:g}\n"
        "# GiB an account's kept snapshots may take before the evictable ones among them go\n"
        f"kept_space = {config.kept_space:g}\n"
    )


def _quoted(text: str) -> str:
    """TOML's strings are JSON's."""
    return msgspec.json.encode(text).decode()


def options_of(
    config: ConfigFile,
    *,
    directory: Path,
    run: Path,
    listen: tuple[str, ...] = (),
    ipc: tuple[str, ...] = (),
    metrics: tuple[str, int] | None = None,
) -> Options:
    """The configuration and the command line as one.

    Args:
        listen: TCP endpoints instead of the configured ones.
        ipc: further endpoints.
        metrics: see `Options`.

    Raises:
        BadRequest: a value makes no sense.
    """
    return Options(
        directory=directory,
        run=run,
        name=check_name(config.name),
        endpoints=tuple(check_endpoint(endpoint) for endpoint in (*(listen or config.listen), *ipc)),
        network=network_of(config.network),
        terms=Terms(session=config.lease, node=config.node_lease),
        image_space=int(config.image_space * GIB),
        kept_space=int(config.kept_space * GIB),
        metrics=metrics,
    )


def check_name(name: str) -> str:
    """`name` if it can be a location's. Raises `BadRequest` if not."""
    if not _NAME.match(name):
        raise BadRequest(f"{name!r} cannot be the name of a location", hint="use a host name such as lab.example.org")
    return name


def network_of(text: str) -> IPv4Network:
    """A network from its text, `10.117.0.0/16`. Raises `BadRequest` if it is none."""
    try:
        return IPv4Network(text)
    except ValueError as bad:
        raise BadRequest(f"network = {text!r}: {bad}") from bad


def check_endpoint(endpoint: str) -> str:
    """`endpoint` if ZeroMQ can listen there: `tcp://address:port` or `ipc://path`. Raises `BadRequest` if not."""
    scheme, _, rest = endpoint.partition("://")
    if scheme == "tcp" and re.fullmatch(r".+:(\d{1,5}|\*)", rest):
        return endpoint
    if scheme == "ipc" and rest.startswith("/"):
        check_socket_path(Path(rest))
        return endpoint
    raise BadRequest(f"{endpoint!r} is not an endpoint", hint="write tcp://127.0.0.1:5555 or ipc:///run/tf/socket")


def public_address(text: str) -> str:
    """`host[:port]` or an endpoint, as an endpoint clients connect to. Raises `BadRequest` if it is neither."""
    if "://" in text:
        return check_endpoint(text)
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\s]+)(:\d{1,5})?", text):
        raise BadRequest(f"{text!r} is not host[:port]")
    return f"tcp://{text}" if re.search(r":\d+\Z", text) else f"tcp://{text}:{PORT}"


def check_socket_path(path: Path) -> None:
    """Raise `BadRequest` if no unix socket can have that path."""
    if len(str(path).encode()) > SOCKET_PATH:
        raise BadRequest(f"the socket path {path} is longer than {SOCKET_PATH} bytes", hint="use a shorter --run")
