"""Accounts on the user's side: key pairs in `~/.20ft`, one per location (seed 000, Account).

`~/.20ft/<location>` holds the secret key, `<location>.pub` the public one, `<location>.server` the location's address and
pinned public key, `default_location` the name used when none is given. Knows no sockets but DNS.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tfcore.errors import BadRequest, NotFound, Refused, Unavailable
from tfcore.keys import KeyPair, key_from, load, save, text_of
from tfnz import arguments

if TYPE_CHECKING:
    import dns.resolver

DEFAULT_PORT = 5555
"""The one TCP port of a location (seed 000)."""

DNS_TIMEOUT = 5.0
"""Seconds until a DNS server has answered."""

TXT_PREFIX = "20ft-key="
"""How a location's public key is written in its DNS TXT record."""

_NAME = re.compile(r"\A[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?\Z")
_TAKEN = {"default_location", "local", "auto", "none"}
_SUFFIXES = (".pub", ".server", ".accepting")


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """What `<location>.server` holds: where the location is and which key it must show."""

    address: str
    key: str


@dataclass(frozen=True)
class Account:
    """All that is needed to open a session.

    Attributes:
        location: the location's name.
        endpoint: where to connect, as ZeroMQ writes it.
        server_key: the public key the location must prove to hold, 32 bytes.
        keys: the account's own pair.
        local: the location runs on this machine, in private.
    """

    location: str
    endpoint: str
    server_key: bytes
    keys: KeyPair
    local: bool = False


def directory() -> Path:
    """Where the accounts are: `$TF_HOME`, else `~/.20ft`."""
    return Path(os.environ.get("TF_HOME") or Path.home() / ".20ft")


def known() -> list[str]:
    """The names of the locations this user has an account for."""
    try:
        names = sorted(path.name.removesuffix(".pub") for path in directory().glob("*.pub"))
    except OSError:
        return []
    return [name for name in names if (directory() / name).exists() and not name.endswith(_SUFFIXES)]


def address_of(location: str) -> str:
    """The address that is pinned for a location, as ZeroMQ writes it, or "" if none is.

    Raises:
        BadRequest: its file is damaged.
    """
    server = _pinned(directory() / f"{location}.server")
    return server.address if server else ""


def default_location() -> str | None:
    """The location used when none is named, or None."""
    try:
        return (directory() / "default_location").read_text().strip() or None
    except FileNotFoundError:
        return None


def set_default(location: str) -> None:
    """Make `location` the default; "local" can be it, too."""
    name = location if location == "local" else check_name(location)
    write(made_directory() / "default_location", name.encode() + b"\n")


def check_name(location: str) -> str:
    """`location` if it can be the name of one.

    Raises:
        BadRequest: it cannot.
    """
    if not _NAME.match(location) or location in _TAKEN or location.endswith(_SUFFIXES):
        raise BadRequest(f"{location!r} cannot be the name of a location", hint="use a host name such as tiny.20ft.nz")
    return location


def store(location: str, *, keys: KeyPair, address: str, server_key: bytes) -> None:
    """Keep an account; it becomes the default if there was none."""
    save(made_directory() / check_name(location), keys)
    _pin(location, Server(address=address, key=text_of(server_key)))
    if default_location() is None:
        set_default(location)


def _pin(location: str, server: Server) -> None:
    write(made_directory() / f"{location}.server", msgspec.json.encode(server) + b"\n")


def made_directory() -> Path:
    """Where the accounts are, made if need be. Raises `Refused` if others can write to it."""
    home = directory()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_loose(home)
    return home


def write(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Write a file in one step, for nobody else to change whatever the umask is; nor to read, if it is secret."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    mode = 0o600 if secret else 0o644
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(content)
    aside.rename(path)


def find(location: str, *, address: str | None = None) -> Account:
    """The account for `location`.

    Args:
        address: `host[:port]` to connect to instead of the stored one or the location's own name (`location_ip=`).

    Raises:
        NotFound: no account for this location; the message names those there are.
        Refused: its files can be read by others.
        Unavailable: no pinned key and none in the DNS.
    """
    home = directory()
    _refuse_loose(home)
    check_name(location)
    try:
        keys = load(home / location)
    except NotFound as missing:
        names = ", ".join(known()) or "none"
        raise NotFound(
            f"there is no account for location {location!r} in {home} (there is: {names})",
            hint="ask its operator for an invitation and run: tf account accept INVITATION",
        ) from missing
    server = _pinned(home / f"{location}.server")
    if server is None:
        server = Server(address=location, key=text_of(key_from_dns(location)))
        with contextlib.suppress(OSError):  # a home that cannot be written to: it is looked up again next time
            _pin(location, server)
    return Account(
        location=location,
        endpoint=endpoint_of(address or server.address),
        server_key=key_from(server.key, what=f"the key pinned for {location}"),
        keys=keys,
    )


def _refuse_loose(home: Path) -> None:
    try:
        mode = home.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_IMODE(mode) & 0o022:
        raise Refused(f"{home} can be written to by others", hint=f"chmod 700 {home}")


def _pinned(path: Path) -> Server | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Server)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as bad:
        raise BadRequest(f"{path} is damaged: {bad}", hint="remove it to read the location's key from the DNS") from bad


def endpoint_of(address: str) -> str:
    """`host[:port]`, or an endpoint as it is, as a ZeroMQ endpoint.

    Raises:
        BadRequest: the port is not a number from 1 to 65535.
    """
    if "://" in address:
        return address
    host, port = address, str(DEFAULT_PORT)
    if address.startswith("["):
        host, _, rest = address.partition("]")
        host, port = host + "]", rest.removeprefix(":") or port
    elif address.count(":") == 1:
        host, port = address.split(":")
    elif address.count(":") > 1:
        host = f"[{address}]"
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise BadRequest(f"{address!r} is not host[:port]")
    return f"tcp://{host}:{port}"


def key_from_dns(location: str) -> bytes:
    """The public key a location publishes in its TXT record, `20ft-key=<base64>`.

    `$TF_DNS` (`address[:port]`) names another server than the system's.

    Raises:
        Unavailable: no such record, or no answer.
        BadRequest: the record holds no key, or `$TF_DNS` names no server.
    """
    import dns.exception
    import dns.resolver

    try:
        answers = _resolver().resolve(location, "TXT", lifetime=DNS_TIMEOUT)
    except dns.exception.DNSException as error:
        raise Unavailable(
            f"the public key of {location} is neither pinned nor in the DNS: {error}",
            hint="run: tf account accept INVITATION, or ask the operator to publish the TXT record",
            retryable=True,
        ) from error
    for answer in answers:
        text = b"".join(answer.strings).decode("ascii", "replace")
        if text.startswith(TXT_PREFIX):
            return key_from(text.removeprefix(TXT_PREFIX), what=f"the key in the TXT record of {location}")
    raise Unavailable(f"{location} has TXT records, but none of them starts with {TXT_PREFIX}")


def _resolver() -> dns.resolver.Resolver:
    import dns.resolver

    server = os.environ.get("TF_DNS")
    if not server:
        return dns.resolver.Resolver()
    resolver = dns.resolver.Resolver(configure=False)
    try:
        host, _, port = server.partition(":")
        resolver.port = arguments.port(int(port or 53))
        resolver.nameservers = [host]
    except ValueError as bad:
        raise BadRequest(f"TF_DNS={server} is not an address[:port]: {bad}") from bad
    return resolver


def resolve(location: str | None, *, address: str | None = None) -> Account:
    """The account a `Location(location, location_ip)` means: `local`, a name, or None for the default.

    Raises:
        TfError: as `find`; `NotFound` if there is no default; `HostLacks` if a local location cannot run here.
    """
    from tfnz import local

    name = location or default_location()
    if name is None:
        raise NotFound(
            f"no location was named and there is no {directory() / 'default_location'}",
            hint='name one, or use Location("local") for a private one on this machine',
        )
    if name == local.NAME:
        return local.ensure()
    return find(name, address=address)
