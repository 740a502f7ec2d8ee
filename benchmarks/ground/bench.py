"""What a benchmark is given: a place, images, perhaps a Docker engine, and how often to measure."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ground.local import private_location
from benchmarks.ground.services import Service
from benchmarks.measuring.progress import Progress

if TYPE_CHECKING:
    from benchmarks.peers.engine import Engine
    from tfnz.container import Container
    from tfnz.location import Location


@dataclass(frozen=True)
class Bench:
    """One run's surroundings.

    Attributes:
        images: the directory of the example images, an OCI layout each.
        directory: where data may be put; gone after the run.
        docker: the peer, or why there is none.
        rounds: how many, instead of what each benchmark finds right.
    """

    images: Path
    directory: Path
    docker: Engine | str
    rounds: int | None = None
    progress: Progress = field(default_factory=Progress)

    def times(self, usual: int) -> int:
        """How many rounds: the benchmark's `usual` number, unless somebody chose another."""
        return self.rounds or usual

    def amount(self, usual: int, *, quick: int) -> int:
        """How much of something a round has: the benchmark's `usual` amount, or a `quick` look's if somebody chose how
        many rounds there are."""
        return usual if self.rounds is None else quick

    def image(self, name: str) -> str:
        """An example image as an argument of `spawn_container`."""
        return f"oci:{self.images / name}:latest"

    def location(self) -> AbstractContextManager[Location]:
        """A session with a private location; its daemons end with the block."""
        return private_location(self.directory / "local")

    def spawn(self, location: Location, service: Service) -> Container:
        """A container of ours, ready."""
        return (
            location.node()
            .spawn_container(self.image(service.image), env=dict(service.environment), **service.options)
            .wait_until_ready()
        )
