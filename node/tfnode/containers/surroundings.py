"""What a container needs of the agent around it: the seam between one container's story and everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Protocol

from tfnode.containers.life import Generation, Generations
from tfnode.containers.room import Room
from tfnode.containers.sandbox import Sandbox

if TYPE_CHECKING:
    from tfnode.containers.ahead import Fellows
    from tfnode.containers.container import Container


class Surroundings(Protocol):
    """What a container needs of the agent around it."""

    @property
    def executor(self) -> Executor:
        """Where synchronous work is done."""

    @property
    def generations(self) -> Generations:
        """What makes and buries generations."""

    @property
    def room(self) -> Room:
        """For generations that are booted ahead."""

    def snapshot_taken(self, container: Container) -> None:
        """It has a new snapshot, which it goes back to next; so those it rolls back with may begin to get ready for that."""

    async def execute(self, generation: Generation, command: str | tuple[str, ...]) -> tuple[int, str]:
        """Run a command in a generation; (exit code, the end of its output)."""

    def open_beside(self, address: str) -> Sandbox:
        """A sandbox under an address that another one has; for a worker thread. Errors as `Sandbox.beside`."""

    def company(self, container: Container, fellows: Fellows) -> str:
        """Why another generation of it must not boot beside it, together with those of its fellows, in view of the other
        containers; "" if it may."""

    def unite(self, sandboxes: Sequence[Sandbox]) -> None:
        """Have sandboxes that nobody reaches reach each other; for a worker thread. Errors as `Network.unite`."""

    async def part(self, container: Container) -> None:
        """What it goes back to is about to change: nothing is left of the generations that were booted ahead of it together
        with those of others."""

    def cut_connections(self, container: str) -> None:
        """Reset its tunnels' connections."""

    def carries(self, container: str) -> bool:
        """True if a tunnel's client has said something that has not reached the container yet."""

    def report_end(self, container: Container, reason: str, exit_code: int | None) -> None:
        """Tell the location that its main process ended by itself."""
