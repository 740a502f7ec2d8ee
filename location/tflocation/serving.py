"""One process that serves a location: the loop, the signals, the orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from tfcore import service_manager
from tflocation import local
from tflocation.daemon import Daemon
from tflocation.directory import Directory
from tflocation.operator import SOCKET
from tflocation.options import Options, check_endpoint, options_of, read

log = logging.getLogger(__name__)


def run(
    directory: Directory,
    run_directory: Path,
    *,
    listen: tuple[str, ...],
    ipc: tuple[str, ...],
    metrics: tuple[str, int] | None = None,
) -> None:
    """Serve a location until SIGTERM or SIGINT.

    Args:
        listen: TCP endpoints instead of the configured ones.
        ipc: paths of further unix sockets.
        metrics: loopback address and port to serve metrics on.

    Raises:
        TfError: it cannot be served; nothing was changed.
    """
    sockets = [str(run_directory / SOCKET), *ipc]
    options = options_of(
        read(directory.config),
        directory=directory.root,
        run=run_directory,
        listen=listen,
        ipc=tuple(check_endpoint(f"ipc://{Path(path).absolute()}") for path in sockets),
        metrics=metrics,
    )
    asyncio.run(_until_told(lambda stop: _serve(options, stop)))


def run_local(directory: Directory, run_directory: Path, *, idle: float) -> None:
    """Serve a private location until SIGTERM, SIGINT, or nobody needs it.

    Raises:
        TfError: as `run`, or the node does not start.
    """
    place = local.Place(directory=directory.root, run=run_directory, idle=idle)
    asyncio.run(_until_told(lambda stop: local.serve(place, stop)))


async def _serve(options: Options, stop: asyncio.Event) -> None:
    daemon = Daemon(options)
    try:
        await daemon.start()
        service_manager.notify("READY=1")
        await stop.wait()
    finally:
        service_manager.notify("STOPPING=1")
        await daemon.stop()


async def _until_told(serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(stop)
    log.info("stopped")
