"""A node's configuration: one file written by `tf-node enrol` (or by a private location) and read by `tf-node serve`."""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from tfcore.errors import BadRequest, NotFound
from tfcore.keys import KeyPair, key_from, load
from tfcore.wire.values import Name


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node has to know.

    Attributes:
        name: as the location knows it.
        endpoint: where the location is: `tcp://host:port` or `ipc://path`.
        server_key: the location's public key, base64.
        key: file of the node's own secret key; relative paths are relative to the configuration's directory.
        root: directory for layers, containers' trees, volumes and snapshots.
        run: short directory for sockets and the agent's private mounts.
        storage: driver: `auto`, `overlay`, `btrfs`, `zfs`, `directory`.
        outgoing: may containers reach beyond the node: `auto` if the machine forwards already, `on`, `off`.
        uid_base: first of 65536 user and group ids of the containers; nobody else may use them.
        hand_over: clients on this machine may hand in listening sockets (a private location only).
    """

    name: Name
    endpoint: str
    server_key: str
    key: str = "node.key"
    root: str = "/var/lib/tf-node"
    run: str = "/run/tf-node"
    storage: str = "auto"
    outgoing: Literal["auto", "on", "off"] = "auto"
    uid_base: int = 100_000
    hand_over: bool = False


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration with its files read."""

    config: NodeConfig
    keys: KeyPair
    server_key: bytes
    root: Path
    run: Path

    @property
    def group(self) -> str:
        """What its control groups are called. Nodes of several locations may have one name on one machine, and must not
        take each other's groups for their own of an earlier life; a directory has only one node (`process.lock`)."""
        mark = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:8]
        return f"{self.config.name[:80]}-{mark}"


def read(path: Path) -> Loaded:
    """The configuration in a TOML file.

    Raises:
        NotFound: no such file, or no key. BadRequest: it makes no sense; the message names the field.
    """
    try:
        raw = tomllib.loads(path.read_text())
        config = msgspec.convert(raw, NodeConfig)
    except FileNotFoundError as missing:
        raise NotFound(f"there is no {path}", hint="join a location first: tf-node enrol INVITATION") from missing
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as bad:
        raise BadRequest(f"{path}: {bad}") from bad
    return Loaded(
        config=config,
        keys=load(path.parent / config.key),
        server_key=key_from(config.server_key, what=f"server_key in {path}"),
        root=Path(config.root),
        run=Path(config.run),
    )


def write(path: Path, config: NodeConfig) -> None:
    """Write `config` as TOML, readable by its owner only."""
    fields = msgspec.to_builtins(config)
    lines = [f"{name} = {_toml(value)}\n" for name, value in fields.items()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(lines))


def _toml(value: object) -> str:
    """TOML's strings, integers and booleans are JSON's."""
    return msgspec.json.encode(value).decode()
