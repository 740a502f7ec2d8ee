"""Sockets that must not live on in a forked child.

The other side knows of our end by theirs: a child that outlives us (a server started by a test) would keep a dead session
alive, and a tunnel's port listening with nobody to answer. `exec` closes them by itself; a plain `fork` does not.
"""

from __future__ import annotations

import os
import socket
import weakref

_ours: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def close_in_children(sock: socket.socket) -> socket.socket:
    """Have a forked child close its copy of `sock`; returns the socket."""
    _ours.add(sock)
    return sock


def _in_child() -> None:
    for sock in list(_ours):
        sock.close()
    _ours.clear()


os.register_at_fork(after_in_child=_in_child)
