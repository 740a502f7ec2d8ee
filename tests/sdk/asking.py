"""Requests that take as long as a test wants, asked from threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from tfcore.errors import TfError
from tfcore.rpc.dispatcher import Call
from tfcore.wire import volumes
from tfnz.location import Location

NODE = "n-" + "1" * 22
WISH = volumes.CreateVolume(node=NODE, tag="data")


class Slow:
    """A handler that tells when it has begun and waits until it may end.

    Attributes:
        ids: of the requests it was called for.
    """

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.ids: list[str] = []

    async def __call__(self, call: Call, _message: volumes.CreateVolume) -> volumes.VolumeCreated:
        self.ids.append(call.id)
        self.begun.set()
        while not self.may_end.is_set():
            await asyncio.sleep(0.005)
        return volumes.VolumeCreated(volume="v-" + "2" * 22, node=NODE)


def asked(location: Location) -> Future[volumes.VolumeCreated]:
    """Ask in another thread."""
    future: Future[volumes.VolumeCreated] = Future()

    def ask() -> None:
        try:
            future.set_result(location._call(WISH))
        except TfError as error:
            future.set_exception(error)

    threading.Thread(target=ask).start()
    return future
