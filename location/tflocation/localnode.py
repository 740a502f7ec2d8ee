"""The node of a private location: a process of ours, started, started again when it ends, and gone when we are.

`tf-node serve` gets the reading end of a pipe whose writing end only this process holds: however this process ends, the
kernel closes it and the node ends itself. Knows the node's command line and configuration file, nothing of its inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import select
import sys
from pathlib import Path

import msgspec

from tfcore.errors import DeadlineExceeded, Unavailable

log = logging.getLogger(__name__)

STORAGE = "TF_LOCAL_STORAGE"
"""Environment variable that names the node's storage driver: `auto` (the default), `overlay` or `directory`."""

STOP = 20.0
"""Seconds a node has to end its containers before it is killed."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between the end of one node process and the start of the next."""


class LocalNode:
    """One node process after the other."""

    def __init__(self, directory: Path) -> None:
        """`directory` holds the node's key (`node.key`), its configuration, and all it keeps on disk."""
        self.directory = directory
        self.key = directory / "node.key"
        self.config = directory / "node.toml"
        self._pid_file = directory / "node.pid"
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: tuple[int, int] | None = os.pipe()

    @property
    def name(self) -> str:
        """Its name: a machine may have several private locations, and nodes keep apart by their names."""
        return "local-" + hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:8]

    def configure(self, *, endpoint: str, server_key: str, run: Path) -> None:
        """Write what the node has to know."""
        fields = {
            "name": self.name,
            "endpoint": endpoint,
            "server_key": server_key,
            "key": str(self.key),
            "root": str(self.directory),
            "run": str(run),
            "storage": os.environ.get(STORAGE, "auto"),
            "hand_over": True,
        }
        text = "".join(f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in fields.items())
        self.config.touch(mode=0o600)
        self.config.write_text(text)

    async def wait_for_former(self) -> None:
        """The node of a location that was killed is still ending its containers: wait.

        Raises:
            DeadlineExceeded: it does not come to an end.
        """
        pidfd = self._former()
        if pidfd is None:
            return
        try:
            log.info("waiting for the node of this location's former life to end")
            if not await asyncio.to_thread(_ended_within, pidfd, STOP):
                raise DeadlineExceeded(
                    f"the node of this location's former life has not ended within {STOP:g} s",
                    hint=f"look at the process in {self._pid_file}",
                )
        finally:
            os.close(pidfd)

    def _former(self) -> int | None:
        try:
            pid = int(self._pid_file.read_text())
            pidfd = os.pidfd_open(pid)
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        if os.fsencode(self.config) in command.split(b"\0"):
            return pidfd
        os.close(pidfd)
        return None

    async def start(self) -> None:
        """Start the process."""
        assert self._pipe is not None
        parent_end = self._pipe[0]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tfnode.cli", "serve",
            "--config", str(self.config), "--parent-fd", str(parent_end),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[parent_end],
            start_new_session=True,
            cwd="/",
        )  # fmt: skip
        self._pid_file.write_text(f"{self._process.pid}\n")

    async def first_life(self, joined: asyncio.Event) -> None:
        """Wait until the node has joined.

        Raises:
            Unavailable: it has ended instead; its own message is on stderr, where ours goes, too.
        """
        assert self._process is not None
        up, ended = asyncio.ensure_future(joined.wait()), asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({up, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not up.done():
                raise Unavailable(f"the node did not start: status {ended.result()}", hint="run: tf-node check")
        finally:
            up.cancel()
            ended.cancel()

    async def keep_alive(self) -> None:
        """Start the node again whenever it ends; the longer the pause, the shorter it lived."""
        assert self._process is not None
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            began = loop.time()
            status = await self._process.wait()
            pause = FIRST_PAUSE if loop.time() - began > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            log.error("the node has ended with status %d; it is started again in %g s", status, pause)
            await asyncio.sleep(pause)
            await self.start()

    async def stop(self) -> None:
        """End the node with all its containers; harmless to repeat."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP):
                    await process.wait()
            except TimeoutError:
                log.error("the node has not ended within %g s and is killed", STOP)
                process.kill()
                await process.wait()
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            os.close(pipe[0])
            os.close(pipe[1])


def _ended_within(pidfd: int, seconds: float) -> bool:
    return bool(select.select([pidfd], [], [], seconds)[0])
