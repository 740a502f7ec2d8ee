"""A container, its volumes and a neighbour in a real location, what is done to them, and what must be true whatever fails.

Every act has a deadline. What an act that failed has left is one of two states: the one before, or the one after.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.support.line import PORT, SERVER
from tests.support.tcp_clients import outcome
from tfcore.errors import TfError
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location
from tfnz.volume import Volume

ANSWER = 60.0
"""Seconds in which every waiter has an answer or an error."""

Act = Callable[["World"], None]


class Broken(AssertionError):
    """An invariant does not hold."""


class World:
    """One session's.

    Attributes:
        kept: what the persistent volume's file may hold: what was written last, and what was being written when it failed.
    """

    def __init__(self, location: Location, image: str, random: Random) -> None:
        self.location = location
        self.random = random
        self.kept = {b""}
        self._image = image
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self.kept_volume: Volume = location.node().create_volume(persistent=True)
        self.scratch: Volume = location.node().create_volume()
        self.main = self.spawn(volumes={"/kept": self.kept_volume, "/scratch": self.scratch})
        self.main.put("/state", b"base")
        self.main.put("/scratch/state", b"base")
        self.main.put("/kept/state", b"")
        self.main.snapshot("base")
        self.port = self.main.attach_tunnel(PORT).localport

    def spawn(self, **wish: object) -> Container:
        """A container that echoes, ready."""
        made = self.location.node().spawn_container(
            self._image, command=["perl", "-e", SERVER], ready=ready.tcp(PORT), **wish
        )
        try:
            return made.wait_until_ready()
        except BaseException:
            with contextlib.suppress(TfError):
                made.destroy()
            raise

    def timely(self, act: Act) -> TfError | None:
        """Do it; the error it failed with.

        Raises:
            Broken: no answer came, or an error nobody could make sense of.
        """
        future = self._pool.submit(act, self)
        try:
            future.result(ANSWER)
        except TfError as failed:
            if failed.code == "internal":
                raise Broken(f"a defect was met: {failed}") from failed
            return failed
        except concurrent.futures.TimeoutError as late:
            raise Broken(f"{act.__name__} had no answer within {ANSWER:g} s") from late
        return None

    # what must be true

    def recover(self) -> None:
        """The next test: whatever was left, it begins at the baseline and passes.

        Raises:
            Broken: it does not.
        """
        error = self.timely(back_to_base)
        if error is not None:
            error = self.timely(rebuild)
        if error is not None:
            raise Broken(f"the next test cannot begin: {error}")
        self._look()

    def _look(self) -> None:
        for path in ("/state", "/scratch/state"):
            if (found := self.main.fetch(path)) != b"base":
                raise Broken(f"{path} holds {found!r} after the rollback")
        if (found := self.main.fetch("/kept/state")) not in self.kept:
            raise Broken(f"the persistent volume holds {found!r}, and not one of {self.kept!r}")
        self.kept = {found}
        if (what := outcome(self.port)) != "echo":
            raise Broken(f"the tunnel's client saw: {what}")

    def end(self) -> None:
        """Nothing of it is left, the persistent volume included."""
        self._pool.shutdown()
        for container in list(self.location.containers.values()):
            container.destroy()
        self.kept_volume.destroy()


def back_to_base(world: World) -> None:
    """As before every test."""
    world.main.rollback("base", timeout=ANSWER / 2)


def rebuild(world: World) -> None:
    """As after its node's agent was lost."""
    world.main.rebuild("base", timeout=ANSWER / 2)


# the acts


def write_and_go_back(world: World) -> None:
    """What every test does."""
    world.main.put("/state", b"changed")
    world.main.put("/scratch/state", b"changed")
    back_to_base(world)


def write_to_what_stays(world: World) -> None:
    """A persistent volume is never rolled back by itself."""
    new = str(world.random.random()).encode()
    world.kept.add(new)
    world.main.put("/kept/state", new)
    world.kept = {new}


def nested(world: World) -> None:
    """A snapshot above the baseline, and back to each."""
    world.main.put("/state", b"module")
    name = world.main.snapshot()
    world.main.put("/state", b"test")
    world.main.rollback(name)
    if world.main.fetch("/state") != b"module":
        raise Broken("the nested snapshot does not hold what it was taken of")
    back_to_base(world)
    world.main.drop_snapshot(name)


def run_commands(world: World) -> None:
    """Two commands, one of which fails."""
    done = world.main.run_process("cat /state; exit 3", timeout=ANSWER / 2)
    if done.exit_code != 3:
        raise Broken(f"a command answered {done!r}")


def neighbour_comes_and_goes(world: World) -> None:
    """Another container, with a volume of its own, connected to the first."""
    volume = world.location.node().create_volume()
    other = world.spawn(volumes={"/data": volume})
    other.put("/data/own", b"own")
    world.main.allow_connection_from(other)
    if other.fetch("/data/own") != b"own":
        raise Broken("the neighbour's volume does not hold what was written")
    other.destroy()
    volume.destroy()


def reboot(world: World) -> None:
    """The same files, new processes."""
    world.main.reboot(timeout=ANSWER / 2)


def talk(world: World) -> None:
    """A new tunnel, used and destroyed."""
    tunnel = world.main.attach_tunnel(PORT)
    outcome(tunnel.localport)
    world.main.destroy_tunnel(tunnel)


def checkpoint(world: World) -> None:
    """Undone at its end."""
    with world.main.checkpoint():
        world.main.put("/new", b"new")


def upload(world: World) -> None:
    """A new image, of one file."""
    with tempfile.TemporaryDirectory() as directory:
        file, archive = Path(directory, "file"), Path(directory, "new.tar")
        file.write_bytes(world.random.randbytes(1000))
        with tarfile.open(archive, "w") as tar:
            tar.add(file, "file")
        world.location.ensure_image_uploaded(f"rootfs:{archive}")


ACTS: tuple[Act, ...] = (
    write_and_go_back, write_and_go_back, write_to_what_stays, nested, run_commands, neighbour_comes_and_goes, reboot, talk,
    checkpoint, upload,
)  # fmt: skip
