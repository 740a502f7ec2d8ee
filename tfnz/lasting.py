"""What of a container outlives it: mixed into `Container`, which has the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tfnz import fork as forking
from tfnz import kept as keeping
from tfnz.kept import Kept

if TYPE_CHECKING:
    from tfnz.container import Container


class Lasting:
    """Keeping and forking."""

    def keep(  # type: ignore[misc]
        self: Container,
        name: str = "",
        *,
        snapshot: str = "",
        seconds: float | None = None,
        labels: Mapping[str, str] | None = None,
        evictable: bool = False,
        replace: bool = False,
        timeout: float = 300.0,
    ) -> Kept:
        """Keep its disk and its session volumes, at one instant, beyond its life and the session: for the account.

        It holds disk and no memory. `Location.resume` spawns containers from it, in any later session of the account.
        Persistent volumes are not part of it. A container that has ended is kept with the files it ended with.

        Args:
            name: unique for the account; "" for none: the id will do.
            snapshot: one of its own snapshots to be kept, instead of the present state. The present state is taken frozen,
                after `before_snapshot`, also of a container with `clean_stop`.
            seconds: how long; None: until it is forgotten.
            labels: text for whoever lists them.
            evictable: it may go when the account keeps more than the location allows, the oldest first.
            replace: in place of the one that has this name, which goes when this one is there.

        Raises:
            WrongState: the name is taken; or there is no state to be kept.
            NotFound: no such snapshot. BadRequest: not a name.
        """
        return keeping.keep(
            self,
            name,
            snapshot=snapshot,
            seconds=seconds,
            labels=labels,
            evictable=evictable,
            replace=replace,
            timeout=timeout,
        )

    def fork(self: Container, n: int = 1, *, timeout: float = 60.0) -> list[Container]:  # type: ignore[misc]
        """`n` more containers that go on from the state this one is in, ready, each with an address and session volumes of
        its own; this one goes on as well.

        They boot from its disk, taken frozen at one instant; persistent volumes are shared. If one does not become ready,
        none is left.

        Args:
            timeout: seconds each may take until it is ready.

        Raises:
            BadRequest: not a number of forks. As `keep` and `wait_until_ready`.
        """
        return forking.fork(self, n, timeout=timeout)
