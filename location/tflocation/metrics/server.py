"""Metrics over HTTP, on a loopback address, when asked for: `GET /metrics` in Prometheus' text format.

The HTTP server is prometheus_client's, in threads of its own; each scrape asks the daemon's loop for its figures.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, start_http_server

from tfcore.errors import TfError, Unavailable
from tfcore.wire.figures import AskFigures, NodeFigures
from tflocation import status
from tflocation.location import Location
from tflocation.metrics.exposition import families
from tflocation.nodes import Node

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds for a node to tell its figures; Prometheus waits for ten by default."""

SCRAPE = 8.0
"""Seconds for all of it."""


class MetricsServer:
    """Serves a location's metrics from `open` to `close`."""

    def __init__(self, location: Location, address: tuple[str, int]) -> None:
        """`address` is a loopback address and a port; 0 is any."""
        self._location = location
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._server: WSGIServer | None = None

    def open(self) -> int:
        """Listen; returns the port.

        Raises:
            Unavailable: the address cannot be listened on.
        """
        registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        registry.register(self)
        host, port = self._address
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        except OSError as taken:
            raise Unavailable(
                f"cannot serve metrics on {host}:{port}: {taken.strerror}", hint="choose another port: --metrics"
            ) from taken
        log.info("metrics are served on http://%s:%d/metrics", host, self._server.server_port)
        return self._server.server_port

    def collect(self) -> Iterator[Metric]:
        """What the library asks, from a thread of its own, at each scrape."""
        return iter(asyncio.run_coroutine_threadsafe(self._families(), self._loop).result(SCRAPE))

    async def _families(self) -> list[Metric]:
        location = self._location
        joined = [node for node in location.nodes if node.state == "joined"]
        answers = await asyncio.gather(*map(_figures_of, joined))
        usage = await location.disk.run(location.images.usage)
        told = {node.name: answer for node, answer in zip(joined, answers, strict=True) if answer is not None}
        return list(families(status.report(location, usage), location.tally, told))

    async def close(self) -> None:
        """Listen no more."""
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(self._end, server)

    def _end(self, server: WSGIServer) -> None:
        server.shutdown()
        server.server_close()
        self._thread.join()


async def _figures_of(node: Node) -> NodeFigures | None:
    """None if it does not say in time, or is too old to know the question."""
    try:
        return await node.call(AskFigures(), timeout=PATIENCE)
    except TfError as error:
        log.debug("node %s told no figures: %s", node.name, error)
        return None
