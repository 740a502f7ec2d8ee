"""What has a tag, and collections of it: how objects of one account find each other (seed 002, Tagging and Discovery).

Of a location it knows the account's name, of the wire nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from tfcore.errors import NotFound

if TYPE_CHECKING:
    from tfnz.location import Location


class NotHeld(NotFound, KeyError):
    """A collection has no such object: a `KeyError`, as gen 2 had it, and a `ValueError`, as all that is not found."""

    code = "not-held"


class Taggable:
    """Something with an id, and perhaps a tag. Mixed into volumes and containers, which have these attributes."""

    uuid: str
    tag: str
    location: Location

    def display_name(self) -> str:
        """`uuid:tag`, or the id alone; good for `TaggedCollection.get` (seed 002)."""
        return f"{self.uuid}:{self.tag}" if self.tag else self.uuid

    def global_display_name(self) -> str:
        """`account:uuid:tag`, or without the tag: the same object for people of several accounts (seed SDK, B25)."""
        return f"{self.location.account}:{self.display_name()}"


class Tagged(Protocol):
    """What a collection holds."""

    @property
    def uuid(self) -> str: ...

    @property
    def tag(self) -> str: ...

    def display_name(self) -> str: ...


TaggedT = TypeVar("TaggedT", bound=Tagged)


class TaggedCollection(Mapping[str, TaggedT]):
    """Objects by their ids, as of when it was made; to be found by tag as well (seed 002).

        location.volumes[uuid]                           the one with this id
        location.volumes.get(location.user_pk, key)      by id, tag or uuid:tag
        key in location.volumes, len(location.volumes)
        location.volumes()                               all of them, a set

    Args:
        found: by id.
        account: whose they are.
        what: one of them, for messages: "volume".
    """

    def __init__(self, found: Mapping[str, TaggedT], *, account: str, what: str) -> None:
        self._found = dict(found)
        self._account = account
        self._what = what

    def find(self, key: str | bytes) -> TaggedT:
        """The one with this id, tag or `uuid:tag`.

        Raises:
            NotFound: there is none (a `ValueError`, and a `KeyError`).
        """
        text = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        if text in self._found:
            return self._found[text]
        for one in self._found.values():
            if text and text in (one.tag, one.display_name()):
                return one
        raise NotHeld(f"there is no {self._what} {text!r} for account {self._account}", details={"key": str(text)})

    def get(self, user_pk: str, key: str | bytes) -> TaggedT:  # type: ignore[override]
        """The one with this id, tag or `uuid:tag`, of this account (seed 002: its argument order).

        Args:
            user_pk: the account, as `Location.user_pk` has it: a session sees its own account's objects only.

        Raises:
            NotFound: there is none, or that is another account.
        """
        if user_pk != self._account:
            raise NotHeld(f"this session is of account {self._account} and sees nothing of {user_pk!r}")
        return self.find(key)

    def __getitem__(self, uuid: str | bytes) -> TaggedT:
        return self._found[uuid.decode("utf-8", "replace") if isinstance(uuid, bytes) else uuid]

    def __contains__(self, key: object) -> bool:
        try:
            return isinstance(key, str | bytes) and self.find(key) is not None
        except NotFound:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __call__(self) -> set[TaggedT]:
        """All of them."""
        return set(self._found.values())

    def __repr__(self) -> str:
        names = ", ".join(one.display_name() for one in self._found.values())
        return f"<{len(self)} {self._what}s: {names}>"
