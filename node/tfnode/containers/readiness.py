"""Is the service up? Probes run inside the container's sandbox, at every boot, until they pass.

Probes, not log counting: a service over an existing data directory writes other lines than over an empty one. Knows a
container only as a `Patient`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from typing import Protocol

from tfcore.errors import BadRequest, TfError
from tfcore.images.description import ImageConfig
from tfcore.wire.containers import Probe

FIRST_PAUSE = 0.0005
TCP_PAUSE = 0.01
EXEC_PAUSE = 0.05
"""Seconds between attempts: doubling from the first to the others."""

KNOCKING = 0.3
"""Seconds to wait for a port before a healthcheck is tried anyway."""

ANSWER_TIMEOUT = 5.0
"""Seconds one attempt may take."""


class Patient(Protocol):
    """What a probe may ask of a container."""

    @property
    def address(self) -> str:
        """Where its services answer."""

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to `port` of its address, from inside; OSError if there is none."""

    async def run_quietly(self, command: str | tuple[str, ...]) -> tuple[int, str]:
        """Run a command in it; (exit code, the end of its output)."""

    def output_of_this_boot(self) -> str:
        """What it has written since it booted."""

    def saw(self, what: str) -> None:
        """Note what was last seen, for whoever waits."""


def wish_of(image: ImageConfig) -> Probe:
    """The image's own idea of ready: its Healthcheck, else its first exposed TCP port, else running."""
    check = image.healthcheck
    ports = sorted(exposed.number for exposed in image.exposed_ports if exposed.protocol == "tcp")
    if check is not None and check.test and check.test[0] in ("CMD", "CMD-SHELL"):
        return Probe(kind="exec", command="\0".join(check.test), port=ports[0] if ports else 0)
    return Probe(kind="tcp", port=ports[0]) if ports else Probe(kind="running")


async def until_ready(probe: Probe, patient: Patient) -> None:
    """Return when the probe has passed. Has no deadline of its own: whoever waits has.

    Raises:
        BadRequest: the probe makes no sense.
    """
    if probe.kind == "running":
        return
    if probe.kind == "all":
        for part in probe.parts:
            await until_ready(part, patient)
        return
    pause, longest = FIRST_PAUSE, EXEC_PAUSE if probe.kind == "exec" else TCP_PAUSE
    while not await _passes(probe, patient):
        await asyncio.sleep(pause)
        pause = min(pause * 2, longest)


async def _passes(probe: Probe, patient: Patient) -> bool:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return await _attempt(probe, patient)
    except TimeoutError:
        patient.saw(f"{probe.kind} probe: no answer within {ANSWER_TIMEOUT:g} s")
        return False


async def _attempt(probe: Probe, patient: Patient) -> bool:
    match probe.kind:
        case "tcp":
            return await tcp_answers(patient, probe.port)
        case "http":
            return await http_answers(patient, probe.port, probe.path, probe.host)
        case "exec":
            await _until_worth_trying(probe.port, patient)
            return await _command_succeeds(probe.command, patient)
        case "log":
            return _log_matches(probe.pattern, patient)
        case _:
            raise BadRequest(f"{probe.kind!r} is not a probe a node can run")


async def tcp_answers(patient: Patient, port: int) -> bool:
    """True if the port accepts a connection now."""
    try:
        _, writer = await patient.connect(port)
    except OSError as error:
        patient.saw(f"port {port}: {_reason(error)}")
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _reason(error: OSError) -> str:
    """asyncio's own texts say less than the error's number."""
    return os.strerror(error.errno) if error.errno else str(error)


async def http_answers(patient: Patient, port: int, path: str, host: str) -> bool:
    """True if `GET path` is answered by 200 now."""
    try:
        reader, writer = await patient.connect(port)
    except OSError as error:
        patient.saw(f"port {port}: {_reason(error)}")
        return False
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host or patient.address}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        status = (await reader.readline()).decode("latin-1").strip()
    except (OSError, ValueError) as error:
        patient.saw(f"GET {path} on port {port}: {error}")
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    patient.saw(f"GET {path} on port {port}: {status or 'no answer'}")
    return bool(re.match(r"HTTP/1\.[01] 200\b", status))


async def _until_worth_trying(port: int, patient: Patient) -> None:
    """A command costs a process in a container that is busy starting, a knock on its port nothing: knock first, for a
    while, since the image may expose a port nobody listens on."""
    if not port:
        return
    pause = FIRST_PAUSE
    deadline = asyncio.get_running_loop().time() + KNOCKING
    while asyncio.get_running_loop().time() < deadline and not await tcp_answers(patient, port):
        await asyncio.sleep(pause)
        pause = min(pause * 2, TCP_PAUSE)


async def _command_succeeds(command: str, patient: Patient) -> bool:
    """A healthcheck keeps its words apart with NULs, its first one being CMD or CMD-SHELL."""
    kind, *words = command.split("\0")
    if kind == "CMD" and words:
        asked: str | tuple[str, ...] = tuple(words)
    else:
        asked = words[0] if kind == "CMD-SHELL" and words else command
    try:
        code, words_of_it = await patient.run_quietly(asked)
    except TfError as error:
        patient.saw(f"{_name(asked)}: {error}")
        return False
    patient.saw(f"{_name(asked)}: status {code}: {words_of_it.strip()[-200:]}")
    return code == 0


def _name(asked: str | tuple[str, ...]) -> str:
    return asked if isinstance(asked, str) else " ".join(asked)


def _log_matches(pattern: str, patient: Patient) -> bool:
    try:
        wanted = re.compile(pattern)
    except re.error as bad:
        raise BadRequest(f"{pattern!r} is not a regular expression: {bad}") from bad
    lines = patient.output_of_this_boot().splitlines()
    patient.saw(f"last line of its output: {lines[-1][:200] if lines else '(none)'}")
    return any(wanted.search(line) for line in lines)
