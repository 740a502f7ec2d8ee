"""`tf account accept`: turn an invitation into a key pair of one's own, known to the location.

The pair is on disk before it is registered, and stays there while nobody can say whether it was: the same invitation is
accepted again with the same key, so an answer that got lost costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from tfcore.errors import BadRequest, NotFound, TfError, WrongState
from tfcore.invitations import parse
from tfcore.keys import KeyPair, generate, load, save
from tfcore.rpc.enrol import accept
from tfnz import accounts


def enrol(invitation: str) -> str:
    """Register a fresh key and keep it; returns the location's name. It becomes the default if there was none.

    Raises:
        BadRequest: the text is no invitation for an account.
        WrongState: there is an account for that location here already.
        UnknownKey, WrongServerKey, Unavailable: as the location answers; there is no account then.
    """
    invited = parse(invitation, role="client")
    try:
        accounts.find(invited.location)
    except NotFound:
        pass
    else:
        raise WrongState(
            f"there is an account for {invited.location} here already",
            hint=f"move {accounts.directory() / invited.location}* away to replace it",
        )
    pending = accounts.directory() / f"{accounts.check_name(invited.location)}.accepting"
    keys = _kept(pending)
    try:
        asyncio.run(accept(invited, keys.public))
    except TfError as error:
        if not error.retryable:
            _forget(pending)
        raise
    accounts.store(invited.location, keys=keys, address=invited.address, server_key=invited.server_key)
    _forget(pending)
    return invited.location


def _kept(path: Path) -> KeyPair:
    """The pair of an attempt that was interrupted, else a fresh one."""
    with contextlib.suppress(NotFound, BadRequest):
        return load(path)
    keys = generate()
    save(path, keys)
    return keys


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".pub").unlink(missing_ok=True)
