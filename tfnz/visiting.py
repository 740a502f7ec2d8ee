"""Looking into the containers of other sessions: a running test suite's, another terminal's, a colleague's of the account.

    with Visit("local") as visit:
        for container in visit.found():
            print(container.uuid, container.program, container.status().state)
        visit.container("web").run_process("ps")

Sessions do not see each other, and do not have to put up with visitors of another account; a visit sees those of its own. It
reads logs, status and files, writes files and runs commands. What a container is to become (started, rolled back, destroyed)
stays its own session's affair: the location refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from tfcore.errors import BadRequest, NotFound, Refused
from tfcore.wire.containers import ContainerAccepted, ContainerWish, SpawnContainer
from tfcore.wire.visits import ContainerSummary, ListContainers
from tfnz.container import Container
from tfnz.location import Location
from tfnz.node import Node

if TYPE_CHECKING:
    from tfcore.wire.sessions import NodeOffer


class Visit(Location):
    """A session that may look into the containers of all sessions of its account. Arguments and errors as of `Location`."""

    _visiting = True

    def found(self) -> list[Visited]:
        """The account's containers, in all its sessions, as of now, oldest first."""
        return [Visited(self, summary) for summary in self._call(ListContainers()).containers]

    def container(self, key: str) -> Visited:
        """The container with this id or tag, or the only one whose id begins so, `c-` being understood.

        Raises:
            NotFound: there is none. BadRequest: it could be several. (Both are `ValueError`s.)
        """
        return _only(self.found(), key, where=self.name)


class Visited(Container):
    """A container of another session of the account, or of this one. Made by `Visit`, never by hand.

    Attributes:
        program: what its session's client says it is.
        session: its session's id.
        created: seconds since the epoch.
        lost: its node had it no more when it was looked up.
    """

    def __init__(self, visit: Visit, summary: ContainerSummary) -> None:
        self._summary = summary
        self.program = summary.program
        self.session = summary.session
        self.created = summary.created
        self.lost = summary.lost
        node = visit.nodes.get(summary.node) or Node(visit, _lost(summary.node))
        super().__init__(
            node, SpawnContainer(node=summary.node, wish=ContainerWish(image=summary.image), tag=summary.tag)
        )

    def _begun(self) -> ContainerAccepted:
        return ContainerAccepted(container=self._summary.id, address=self._summary.address)

    def _enlist(self, _accepted: ContainerAccepted) -> None:
        """It is not this session's: nobody tells this one of its end."""

    def _boot(self, *_: object, **__: object) -> NoReturn:
        raise Refused(f"container {self.uuid} is another session's: to boot it is for {self.program or 'that'} to do")

    def destroy(self) -> None:
        """Refused: its own session does that.

        Raises:
            Refused: always.
        """
        raise Refused(f"container {self.uuid} is another session's: it goes when {self.program or 'that'} lets it go")


def _lost(node: str) -> NodeOffer:
    from tfcore.wire.sessions import NodeOffer

    return NodeOffer(id=node, name="gone", alive=False)


def _called(one: Visited) -> str:
    return f"{one.uuid}:{one.tag}" if one.tag else one.uuid


def _only(found: Sequence[Visited], key: str, *, where: str) -> Visited:
    """The one that is meant by `key`: an id or a tag comes before the beginning of an id."""
    for meant in (
        [one for one in found if key in (one.uuid, _called(one))],
        [one for one in found if one.tag and one.tag == key],
        [one for one in found if key and one.uuid.startswith((key, f"c-{key}"))],
    ):
        if len(meant) > 1:
            several = ", ".join(map(_called, meant))
            raise BadRequest(f"{key!r} could be several containers: {several}", hint="give more of its id")
        if meant:
            return meant[0]
    names = ", ".join(one.tag or one.uuid for one in found) or "none"
    raise NotFound(f"this account has no container {key!r} at {where} (there is: {names})")
