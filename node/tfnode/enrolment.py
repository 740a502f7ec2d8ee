"""`tf-node enrol`: turn an invitation into this machine's own key and configuration."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import msgspec

from tfcore.errors import NotFound, WrongState
from tfcore.invitations import parse
from tfcore.keys import KeyPair, generate, load, save, text_of
from tfcore.rpc.enrol import accept
from tfnode.config import NodeConfig, write

KEY = "node.key"


def enrol(invitation: str, path: Path, *, root: str, storage: str, outgoing: str) -> str:
    """Register a fresh key with the location and write the configuration; returns the node's name.

    Args:
        invitation: the text from `tf-location node add`.
        path: the configuration to write; the key goes beside it.
        root, storage, outgoing: as in `NodeConfig`.

    Raises:
        BadRequest: the text is no invitation for a node, or an option makes no sense.
        WrongState: there is a configuration already.
        UnknownKey, WrongServerKey, Unavailable: as the location answers; there is no configuration then.
    """
    invited = parse(invitation, role="node")
    if path.exists():
        raise WrongState(
            f"{path} exists: this machine is a node already", hint=f"give another --config, or remove {path}"
        )
    config = msgspec.convert(
        {
            "name": invited.name,
            "endpoint": invited.address,
            "server_key": text_of(invited.server_key),
            "key": KEY,
            "root": root,
            "storage": storage,
            "outgoing": outgoing,
        },
        NodeConfig,
    )
    keys = _kept(path.parent / KEY)
    asyncio.run(accept(invited, keys.public))
    write(path, config)
    return invited.name


def _kept(path: Path) -> KeyPair:
    """The key that is there without a configuration, from an attempt whose answer got lost; else a fresh one.

    It is on disk before it is registered, so that the same invitation can be accepted again with the same key.
    """
    with contextlib.suppress(NotFound):
        return load(path)
    keys = generate()
    save(path, keys)
    return keys
