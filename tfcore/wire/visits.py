"""Visits: what an account has in all its sessions, and looking into it from another one.

Sessions do not see each other (seed 000, Session). One that is opened as a visitor's (`OpenSession.visiting`) may ask what
`links.VISITS` names of the containers of its account's other sessions, too; never of another account's.
"""

from __future__ import annotations

from msgspec import Struct

from tfcore.wire.message import Reply, Request
from tfcore.wire.values import Address, ImageName, ObjectId


class ContainerSummary(Struct, frozen=True, kw_only=True):
    """One of an account's containers, as the location knows it.

    Attributes:
        session: whose it is.
        program: what that session's client says it is.
        created: seconds since the epoch.
        lost: its node has it no more, as when its agent was restarted; its session may boot it again.
    """

    id: ObjectId
    session: ObjectId
    node: ObjectId
    image: ImageName
    address: Address
    tag: str = ""
    program: str = ""
    created: float = 0.0
    lost: bool = False


class ContainersListed(Reply, frozen=True, kw_only=True, tag="container.listed"):
    """The account's, in all its sessions, oldest first."""

    containers: tuple[ContainerSummary, ...] = ()


class ListContainers(Request[ContainersListed], frozen=True, kw_only=True, tag="container.list"):
    """Which containers does the account have?"""
