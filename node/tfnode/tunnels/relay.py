"""Bytes between two sockets without passing through Python: one thread, one epoll, `splice(2)`.

Serves the listening sockets of local clients: accepts in whatever network namespace the socket was made in and connects
in the node's own. Knows containers only as the names of owners whose connections are reset together.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable

from tfnode.tunnels.pairs import Listener, Pair, connecting, reset
from tfnode.tunnels.splicing import Broken, Pipes
from tfnode.tunnels.turnstile import Turnstile

log = logging.getLogger(__name__)

BACKLOG = 64
"""Connections accepted before the others get a turn."""

REST = 0.1
"""Seconds a listener is left alone when nothing can be accepted: descriptors or memory are short."""

CLOSE_TIMEOUT = 5.0
"""Seconds the thread may take to end; it never waits for anybody."""


class Relay:
    """The thread and what it serves. Methods may be called from any thread; they are done when they return."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._turnstile = Turnstile()
        self._pipes = Pipes()
        self._listeners: dict[int, Listener] = {}
        self._resting: dict[Listener, float] = {}
        self._pairs: dict[int, Pair] = {}
        self._watched: dict[int, int] = {}
        self._let_go: set[int] = set()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._epoll.register(self._wake_read, select.EPOLLIN)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tunnel relay", daemon=True)
        self._thread.start()

    def listen(self, sock: socket.socket, *, owner: str, address: str, port: int) -> Listener:
        """Serve a listening socket: every connection goes to `address`:`port`. The socket is the relay's from now on."""
        return self._listen(Listener(sock, owner, address, port))

    def join(self, sock: socket.socket, dial: Callable[[socket.socket], socket.socket]) -> Listener:
        """Serve a listening socket whose connections are each joined with the one that `dial` opens for it, in the relay's
        thread: a socket on its way, at once, or OSError. It is nobody's: `reset` does not concern it."""
        return self._listen(Listener(sock, "", "", 0, dial))

    def _listen(self, listener: Listener) -> Listener:
        sock = listener.sock
        sock.setblocking(False)
        with self._turnstile:
            self._listeners[sock.fileno()] = listener
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        return listener

    def stop_listening(self, listener: Listener) -> None:
        """Close the socket and reset its connections; twice is harmless."""
        with self._turnstile:
            self._close_listener(listener)

    def reset(self, owner: str) -> int:
        """Reset the connections of `owner`; its listeners stay. Returns how many there were."""
        with self._turnstile:
            return self._reset_where(lambda pair: pair.listener.owner == owner)

    def carries(self, owner: str) -> bool:
        """True if a client of `owner` has connected, spoken or left, and the container has not been told yet."""
        waiting = select.poll()
        with self._turnstile:
            pairs = {pair for pair in self._pairs.values() if pair.listener.owner == owner}
            clients = [listener.sock for listener in self._listeners.values() if listener.owner == owner]
            for sock in (*clients, *(pair.client for pair in pairs)):
                waiting.register(sock, select.POLLIN | select.POLLRDHUP)
            return any(pair.holds for pair in pairs) or bool(waiting.poll(0))

    def close(self) -> None:
        """Reset everything and end the thread."""
        with self._turnstile:
            for listener in list(self._listeners.values()):
                self._close_listener(listener)
            self._stopping = True
        os.write(self._wake_write, b"x")
        self._thread.join(CLOSE_TIMEOUT)
        self._pipes.close()
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _close_listener(self, listener: Listener) -> None:
        fd = listener.sock.fileno()
        if self._listeners.pop(fd, None) is None:
            return
        if self._resting.pop(listener, None) is None:
            self._epoll.unregister(fd)
        self._let_go.add(fd)
        listener.sock.close()
        self._reset_where(lambda pair: pair.listener is listener)

    def _reset_where(self, wanted: Callable[[Pair], bool]) -> int:
        found = {pair for pair in self._pairs.values() if wanted(pair)}
        for pair in found:
            self._drop(pair)
            pair.reset()
        return len(found)

    # the thread

    def _run(self) -> None:
        while not self._stopping:
            self._let_go.clear()
            for fd, _ in self._epoll.poll(self._rest_left()):
                with self._turnstile:
                    # What was seen of a descriptor that was closed since may not be true of whoever has the number now.
                    # Nothing gets lost: the next poll tells it again.
                    if fd not in self._let_go:
                        self._turn(fd)
            self._wake_rested()

    def _rest_left(self) -> float:
        """Seconds to wait for events at most; negative is for ever."""
        return REST if self._resting else -1

    def _wake_rested(self) -> None:
        if not self._resting:
            return
        with self._turnstile:
            for listener, until in list(self._resting.items()):
                if until <= time.monotonic():
                    del self._resting[listener]
                    self._epoll.register(listener.sock.fileno(), select.EPOLLIN)

    def _turn(self, fd: int) -> None:
        listener = self._listeners.get(fd)
        pair = self._pairs.get(fd)
        if listener is not None:
            self._accept(listener)
        elif pair is not None:
            self._advance(pair, pair.move)

    def _accept(self, listener: Listener) -> None:
        for _ in range(BACKLOG):
            try:
                client, _ = listener.sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(listener, error)
                return
            self._connect(listener, client)

    def _rest(self, listener: Listener, error: OSError) -> None:
        log.warning("cannot accept for %s: %s", listener.owner, error)
        self._epoll.unregister(listener.sock.fileno())
        self._resting[listener] = time.monotonic() + REST

    def _connect(self, listener: Listener, client: socket.socket) -> None:
        try:
            pair = connecting(listener, client, self._pipes)
        except (Broken, OSError) as error:
            log.debug("a connection for %s was refused: %s", listener.owner, error)
            reset(client)
            return
        self._pairs[client.fileno()] = self._pairs[pair.server.fileno()] = pair
        self._advance(pair, lambda: False)

    def _advance(self, pair: Pair, step: Callable[[], bool]) -> None:
        """Take a step of the pair's life, which tells whether it is over; then wait for the next."""
        try:
            if not step():
                self._watch(pair)
                return
        except (Broken, OSError) as error:
            log.debug("a connection of %s ended: %s", pair.listener.owner, error)
            self._drop(pair)
            pair.reset()
        else:
            self._drop(pair)
            pair.close()

    def _watch(self, pair: Pair) -> None:
        """Wait for what the pair waits for, and for nothing else: a descriptor without interest would still report a
        hang-up, over and over."""
        for sock, interest in zip((pair.client, pair.server), pair.interests(), strict=True):
            fd = sock.fileno()
            watched = self._watched.get(fd, 0)
            if interest == watched:
                continue
            if not watched:
                self._epoll.register(fd, interest)
            elif interest:
                self._epoll.modify(fd, interest)
            else:
                self._epoll.unregister(fd)
            self._watched[fd] = interest

    def _drop(self, pair: Pair) -> None:
        for sock in (pair.client, pair.server):
            fd = sock.fileno()
            self._let_go.add(fd)
            del self._pairs[fd]
            if self._watched.pop(fd, 0):
                self._epoll.unregister(fd)
