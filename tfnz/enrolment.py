"""`tf account accept`: turn an invitation into a key pair of one's own, known to the location."""

from __future__ import annotations

import asyncio

from tfcore.errors import NotFound, WrongState
from tfcore.invitations import parse
from tfcore.keys import generate
from tfcore.rpc.enrol import accept
from tfnz import accounts


def enrol(invitation: str) -> str:
    """Register a fresh key and keep it; returns the location's name. It becomes the default if there was none.

    Raises:
        BadRequest: the text is no invitation for an account.
        WrongState: there is an account for that location here already.
        UnknownKey, WrongServerKey, Unavailable: as the location answers; nothing was written.
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
    keys = generate()
    asyncio.run(accept(invited, keys.public))
    accounts.store(invited.location, keys=keys, address=invited.address, server_key=invited.server_key)
    return invited.location
