"""When a container counts as ready: probes the node runs at every boot, rollbacks included.

Pure descriptions; the node does the polling, next to the container (PRODUCT pain 9: probes, not log counting).
"""

from __future__ import annotations

import re

from tfcore.errors import BadRequest
from tfcore.wire.containers import Probe
from tfnz import arguments


def tcp(port: int) -> Probe:
    """Ready when `port` accepts a connection."""
    return Probe(kind="tcp", port=arguments.port(port))


def http(port: int = 80, path: str = "/", *, host: str = "localhost") -> Probe:
    """Ready when `GET path` on `port` with this Host header is answered by 200."""
    if not path.startswith("/"):
        path = "/" + path
    return Probe(kind="http", port=arguments.port(port), path=path, host=host)


def exec(command: str) -> Probe:  # noqa: A001 - the word of PRODUCT 4.2
    """Ready when `command`, run by /bin/sh in the container, ends with status 0."""
    if not isinstance(command, str) or not command:
        raise BadRequest("ready.exec() takes the command as one string")
    return Probe(kind="exec", command=command)


def log(pattern: str) -> Probe:
    """Ready when a line of the container's output since its boot matches the regular expression `pattern`.

    Mind that some services write other lines over an existing data directory than over an empty one.
    """
    try:
        re.compile(pattern)
    except re.error as bad:
        raise BadRequest(f"ready.log({pattern!r}): not a regular expression: {bad}") from bad
    return Probe(kind="log", pattern=pattern)


def all_of(*probes: Probe) -> Probe:
    """Ready when every one of `probes` is."""
    if not probes or not all(isinstance(probe, Probe) for probe in probes):
        raise BadRequest("ready.all_of() takes probes, e.g. ready.all_of(ready.tcp(80), ready.log('started'))")
    return Probe(kind="all", parts=probes)


def running() -> Probe:
    """Ready as soon as the main process has been started."""
    return Probe(kind="running")


def image() -> Probe:
    """The image's own wish, the default: its Healthcheck, else its first exposed port, else `running`."""
    return Probe(kind="image")
