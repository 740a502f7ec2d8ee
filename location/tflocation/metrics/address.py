"""Where metrics may be served: this machine only. They name accounts, and whoever can read them can ask for them often."""

from __future__ import annotations

from ipaddress import ip_address

from tfcore.errors import BadRequest


def loopback(text: str) -> tuple[str, int]:
    """`127.0.0.1:9555` or `[::1]:9555` as address and port.

    Raises:
        BadRequest: it is neither, or not a loopback address.
    """
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.strip("[]"))
    except ValueError as bad:
        raise BadRequest(f"--metrics {text!r} is not ADDRESS:PORT", hint="write --metrics 127.0.0.1:9555") from bad
    if not address.is_loopback:
        raise BadRequest(
            f"metrics are served on loopback addresses only, and {address} is none",
            hint="use 127.0.0.1, and a proxy with authentication for other machines",
        )
    if not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise BadRequest(f"--metrics {text!r}: {port!r} is not a port")
    return str(address), int(port)
