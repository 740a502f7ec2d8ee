"""Constrained value types of the wire. msgspec checks them on decode, so the receiver is always protected.

Patterns are anchored with \\A and \\Z: `$` would let a trailing newline pass.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tfcore.ids import PATTERN as ID_PATTERN

ObjectId = Annotated[str, Meta(pattern=ID_PATTERN)]
"""See `tfcore.ids`."""

OptionalId = Annotated[str, Meta(pattern=r"\A([scvnrxp]-[0-9A-Za-z]{22})?\Z")]
"""An id, or "" for none."""

Name = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z][0-9A-Za-z_.-]{0,99}\Z")]
"""A name people choose: accounts, nodes, snapshots, containers."""

Tag = Annotated[str, Meta(pattern=r"\A[0-9a-z_.-]{1,64}\Z")]
"""A tag (seed 002, Tagging and Discovery; alphabet as in the published SDK)."""

Digest = Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
"""A content digest as OCI writes it."""

Address = Annotated[str, Meta(pattern=r"\A\d{1,3}(\.\d{1,3}){3}\Z")]
"""An IPv4 address."""

Port = Annotated[int, Meta(ge=1, le=65535)]
Path = Annotated[str, Meta(min_length=1, max_length=4096)]
"""A path inside a container."""
Seconds = Annotated[float, Meta(ge=0, le=86400)]
Bytes = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(max_length=65536)]
ImageName = Annotated[str, Meta(min_length=1, max_length=1024)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A raw Curve25519 public key."""

Role = Literal["client", "node"]
