"""The key by which the ssh servers of one location's containers are known: made once and kept with the account.

A client's `known_hosts` stays true that way, whichever container a port leads to. Knows no servers.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import asyncssh

from tfcore.errors import Refused
from tfnz import accounts, local

SUFFIX = "ssh_host_ed25519"


def path_of(location: str) -> Path:
    """Where the key of a location is: beside the account's, or in the private location's own directory."""
    if location == "local":
        return local.state_directory() / SUFFIX
    return accounts.directory() / f"{location}.{SUFFIX}"


def host_key(path: Path) -> asyncssh.SSHKey:
    """The key at `path`, made if there is none yet; two processes that make it at once get the same one.

    Raises:
        Refused: others can read it, or it is no key.
        OSError: it cannot be read or written.
    """
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise Refused(f"others can read {path}", hint=f"chmod 600 {path}, or remove it to have a new one made")
    try:
        return asyncssh.read_private_key(path)
    except asyncssh.KeyImportError as broken:
        raise Refused(f"{path} holds no usable key: {broken}", hint="remove it to have a new one made") from broken


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    key = asyncssh.generate_private_key("ssh-ed25519")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.export_private_key("openssh"))
    try:
        os.link(new, path)
    except FileExistsError:  # another process was faster
        pass
    finally:
        new.unlink()
