"""Bytes between two sockets without passing through Python: one thread, one epoll, `splice(2)`.

Serves the listening sockets of local clients: accepts in whatever network namespace the socket was made in and connects
in the node's own. Knows containers only as the names of owners whose connections are reset together.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tfnode.tunnels.splicing import Broken, Flow

log = logging.getLogger(__name__)

BACKLOG = 64
"""Connections accepted before the others get a turn."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER without time: closing sends a reset."""

_CONNECTING = {0, 115}
"""Results of connect_ex on a non-blocking socket: done, EINPROGRESS."""


@dataclass(eq=False)
class Listener:
    """A listening socket somebody gave us, and where its connections go."""

    sock: socket.socket
    owner: str
    address: str
    port: int


class Pair:
    """One client's connection and the one to its container."""

    def __init__(self, listener: Listener, client: socket.socket, server: socket.socket) -> None:
        self.listener = listener
        self.client = client
        self.server = server
        self.connected = False
        self.flows = (Flow(client.fileno(), server.fileno()), Flow(server.fileno(), client.fileno()))

    def settle(self, fd: int) -> None:
        """While connecting, something happened on `fd`. Raises `Broken` if it will not become a connection."""
        if fd != self.server.fileno():
            raise Broken("the client has gone")
        error = self.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise Broken(os.strerror(error))
        self.connected = True

    def pump(self) -> bool:
        """Move what can be moved; True when both directions have ended."""
        for flow in self.flows:
            flow.pump()
        return all(flow.over for flow in self.flows)

    def interests(self) -> tuple[int, int]:
        """What to wait for on (client, server)."""
        up, down = self.flows
        if not self.connected:
            return 0, select.EPOLLOUT
        client = (select.EPOLLIN if up.wants_input else 0) | (select.EPOLLOUT if down.blocked else 0)
        server = (select.EPOLLIN if down.wants_input else 0) | (select.EPOLLOUT if up.blocked else 0)
        return client, server

    def close(self) -> None:
        """End it in order."""
        for flow in self.flows:
            flow.close()
        self.client.close()
        self.server.close()

    def reset(self) -> None:
        """End it so that both sides get a reset."""
        for sock in (self.client, self.server):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()


class Relay:
    """The thread and what it serves. Methods may be called from any thread; they are done when they return."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lock = threading.RLock()
        self._listeners: dict[int, Listener] = {}
        self._pairs: dict[int, Pair] = {}
        self._watched: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._epoll.register(self._wake_read, select.EPOLLIN)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tunnel relay", daemon=True)
        self._thread.start()

    def listen(self, sock: socket.socket, *, owner: str, address: str, port: int) -> Listener:
        """Serve a listening socket: every connection goes to `address`:`port`. The socket is the relay's from now on."""
        sock.setblocking(False)
        listener = Listener(sock, owner, address, port)
        with self._lock:
            self._listeners[sock.fileno()] = listener
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        return listener

    def stop_listening(self, listener: Listener) -> None:
        """Close the socket and reset its connections; twice is harmless."""
        with self._lock:
            fd = listener.sock.fileno()
            if self._listeners.pop(fd, None) is None:
                return
            self._epoll.unregister(fd)
            listener.sock.close()
            self._reset_where(lambda pair: pair.listener is listener)

    def reset(self, owner: str) -> int:
        """Reset the connections of `owner`; its listeners stay. Returns how many there were."""
        with self._lock:
            return self._reset_where(lambda pair: pair.listener.owner == owner)

    def forget(self, owner: str) -> None:
        """Close the listeners of `owner` and reset its connections."""
        with self._lock:
            mine = [listener for listener in self._listeners.values() if listener.owner == owner]
            for listener in mine:
                self.stop_listening(listener)

    def close(self) -> None:
        """Reset everything and end the thread."""
        with self._lock:
            for listener in list(self._listeners.values()):
                self.stop_listening(listener)
            self._stopping = True
        os.write(self._wake_write, b"x")
        self._thread.join(5)
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _reset_where(self, wanted: Callable[[Pair], bool]) -> int:
        found = {pair for pair in self._pairs.values() if wanted(pair)}
        for pair in found:
            self._drop(pair)
            pair.reset()
        return len(found)

    # the thread

    def _run(self) -> None:
        while not self._stopping:
            events = self._epoll.poll()
            with self._lock:
                for fd, _ in events:
                    self._turn(fd)

    def _turn(self, fd: int) -> None:
        listener = self._listeners.get(fd)
        pair = self._pairs.get(fd)
        if listener is not None:
            self._accept(listener)
        elif pair is not None:
            self._move(pair, fd)

    def _accept(self, listener: Listener) -> None:
        for _ in range(BACKLOG):
            try:
                client, _ = listener.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("cannot accept for %s: %s", listener.owner, error)
                return
            self._connect(listener, client)

    def _connect(self, listener: Listener, client: socket.socket) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        client.setblocking(False)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = Pair(listener, client, server)
        status = server.connect_ex((listener.address, listener.port))
        if status not in _CONNECTING:
            pair.reset()
            return
        self._pairs[client.fileno()] = self._pairs[server.fileno()] = pair
        self._watch(pair)

    def _move(self, pair: Pair, fd: int) -> None:
        try:
            if not pair.connected:
                pair.settle(fd)
            if pair.pump():
                self._drop(pair)
                pair.close()
                return
        except (Broken, OSError) as error:
            log.debug("a connection to %s ended: %s", pair.listener.owner, error)
            self._drop(pair)
            pair.reset()
            return
        self._watch(pair)

    def _watch(self, pair: Pair) -> None:
        """Wait for what the pair waits for, and for nothing else: a descriptor without interest would still report a
        hang-up, over and over."""
        for sock, interest in zip((pair.client, pair.server), pair.interests(), strict=True):
            fd = sock.fileno()
            watched = self._watched.get(fd, 0)
            if interest and watched:
                self._epoll.modify(fd, interest)
            elif interest:
                self._epoll.register(fd, interest)
            elif watched:
                self._epoll.unregister(fd)
            self._watched[fd] = interest

    def _drop(self, pair: Pair) -> None:
        for sock in (pair.client, pair.server):
            fd = sock.fileno()
            self._pairs.pop(fd, None)
            if self._watched.pop(fd, 0):
                self._epoll.unregister(fd)
