"""Invitations: the text an operator hands to a user or a node's owner, and that makes them an account or a node, once.

The text holds the location's name, address and public key, and a secret key the location knows as an invitation. Whoever
holds the text can use it, once and until it expires; afterwards it is worth nothing, because the guest has registered a
key of its own that never left its machine (`tfcore.rpc.enrol`). Knows no sockets and no files.
"""

from __future__ import annotations

import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64

import libnacl.public
import msgspec
from msgspec import Struct

from tfcore.errors import BadRequest
from tfcore.keys import KeyPair
from tfcore.wire.values import Key, Name, Role

MARK = "tf1"
"""How the text begins, so that people and programs know it; the digit is the format's."""


class Invitation(Struct, frozen=True, kw_only=True):
    """What an invitation says.

    Attributes:
        location: the location's name.
        address: where it is, as ZeroMQ writes it: `tcp://host:port`.
        server_key: its public key, 32 bytes.
        secret: the invitation's own secret key, 32 bytes.
        role: what its holder becomes: `client` (an account) or `node`.
        name: what it will be called there.
        expires: seconds since the epoch.
    """

    location: Name
    address: str
    server_key: Key
    secret: Key
    role: Role
    name: Name
    expires: float

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Invitation(location={self.location!r}, role={self.role!r}, name={self.name!r})"

    @property
    def keys(self) -> KeyPair:
        """The pair to introduce oneself with."""
        return KeyPair(public=libnacl.public.SecretKey(self.secret).pk, secret=self.secret)


def given(argument: str) -> str:
    """The invitation that a command was given: `-` means that it comes on standard input.

    A command's arguments can be read by every user of the machine, for as long as it runs.
    """
    return sys.stdin.readline().strip() if argument == "-" else argument


def text_of(invitation: Invitation) -> str:
    """The invitation as one word of letters, digits, `-` and `_`."""
    return MARK + urlsafe_b64encode(msgspec.msgpack.encode(invitation)).decode().rstrip("=")


def parse(text: str, *, role: Role) -> Invitation:
    """The invitation in a text.

    Args:
        role: what the caller wants to become.

    Raises:
        BadRequest: damaged, for the other role, or expired by this machine's clock.
    """
    invitation = _decoded("".join(text.split()))
    if invitation.role != role:
        command = {"client": "tf account accept", "node": "tf-node enrol"}[invitation.role]
        raise BadRequest(f"this invitation is for a {invitation.role}", hint=f"use it with: {command} INVITATION")
    if invitation.expires < time.time():
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(invitation.expires))
        raise BadRequest(f"this invitation to {invitation.location} expired on {when}", hint="ask for a new one")
    return invitation


def _decoded(text: str) -> Invitation:
    data = text.removeprefix(MARK)
    try:
        raw = urlsafe_b64decode(data + "=" * (-len(data) % 4))
        return msgspec.msgpack.decode(raw, type=Invitation)
    except (NotBase64, ValueError, msgspec.MsgspecError) as bad:
        raise BadRequest(
            "this is not a whole invitation", hint="copy all of it: one word that begins with " + MARK
        ) from bad
