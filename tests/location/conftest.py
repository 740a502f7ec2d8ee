"""For the tests of the location: what a process has once and for ever is there before the first test."""

from __future__ import annotations

import zmq


def _start_the_collector_of_pyzmq() -> None:
    """pyzmq starts a thread with the first large message it sends without copying, and keeps it: no test leaks it."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    one.bind("inproc://first")
    other.connect("inproc://first")
    other.send(bytes(1 << 20), copy=False)
    one.recv()
    one.close()
    other.close()
    context.term()


_start_the_collector_of_pyzmq()
