"""What client and location say to each other about the layers of an image on offer. Knows no sockets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Need(StrEnum):
    """What the location wants of one layer."""

    HAVE = "have"
    """Nothing: it has the layer, and this account has shown possession before."""
    PROVE = "prove"
    """The answer to a challenge: it has the layer, but from somebody else."""
    SEND = "send"
    """All its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNeed:
    """The need for one layer; `nonce` is the challenge if it is `PROVE`, else empty."""

    diff_id: str
    need: Need
    nonce: bytes = b""
