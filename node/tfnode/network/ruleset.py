"""Rule sets as data, and their text for nftables. Pure: loads nothing, and does not know what the rules are for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Hook:
    """Where a base chain sits in the kernel's path, e.g. `filter` at `forward` with priority `filter`, and what it
    does by default.
    """

    kind: str
    point: str
    priority: str
    policy: str = "accept"

    def text(self) -> str:
        """The chain's first line."""
        return f"type {self.kind} hook {self.point} priority {self.priority}; policy {self.policy};"


@dataclass(frozen=True)
class Chain:
    """Rules tried in their order; without a hook, only for those that jump here."""

    name: str
    rules: tuple[str, ...]
    hook: Hook | None = None

    def text(self) -> str:
        """The chain as it stands in its table."""
        return _block(f"chain {self.name}", ((self.hook.text(),) if self.hook else ()) + self.rules)


@dataclass(frozen=True)
class Set:
    """A set whose elements change while the rules stay; `kind` is nftables' own, e.g. `ipv4_addr . ipv4_addr`."""

    name: str
    kind: str

    def text(self) -> str:
        """The set as it stands in its table."""
        return _block(f"set {self.name}", (f"type {self.kind};",))


@dataclass(frozen=True)
class Table:
    """One table: loaded as a whole, in one transaction, in place of what has its name.

    Attributes:
        family: `inet` or `ip`.
        flags: `owner` makes the kernel drop the table as soon as the socket that loaded it is closed.
    """

    family: str
    name: str
    chains: tuple[Chain, ...]
    sets: tuple[Set, ...] = ()
    flags: tuple[str, ...] = ()

    def load(self) -> str:
        """The commands that replace the table; it is made first so that deleting it cannot fail."""
        head = (f"flags {', '.join(self.flags)};",) if self.flags else ()
        parts = head + tuple(part.text() for part in self.sets + self.chains)
        return f"{self._add()}\n{self.delete()}\n{_block(f'table {self.family} {self.name}', parts)}"

    def delete(self) -> str:
        """The command that removes the table with all it holds."""
        return f"delete table {self.family} {self.name}"

    def delete_if_there(self) -> str:
        """The commands that remove the table, whether it exists or not."""
        return f"{self._add()}\n{self.delete()}"

    def add_elements(self, set_name: str, elements: Iterable[str]) -> str:
        """The command that adds `elements` to one of the table's sets; those that are there already are no error."""
        return self._elements("add", set_name, elements)

    def delete_elements(self, set_name: str, elements: Iterable[str]) -> str:
        """The command that takes `elements` from one of the table's sets; one that is not there refuses the whole."""
        return self._elements("delete", set_name, elements)

    def _elements(self, verb: str, set_name: str, elements: Iterable[str]) -> str:
        return f"{verb} element {self.family} {self.name} {set_name} {{ {', '.join(elements)} }}"

    def _add(self) -> str:
        flags = f" {{ flags {', '.join(self.flags)}; }}" if self.flags else ""
        return f"add table {self.family} {self.name}{flags}"


def _block(head: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines).replace("\n", "\n\t")
    return f"{head} {{\n\t{body}\n}}"
