"""Which names of an archive are accepted, and how they are shown.

Strict, since no builder of images writes absolute names or `..`, and whoever does means harm. Knows nothing of files.
"""

from __future__ import annotations

from tfcore.errors import BadImage

NAME_BYTES = 255
"""Linux's NAME_MAX."""

PATH_BYTES = 4000
"""Linux's PATH_MAX (4096) less some room, so that every file can be reached from a container's root."""

DEPTH = 256
"""Most directories one within the other."""

Path = tuple[bytes, ...]
"""The parts of a name; () is the root."""

ROOT: Path = ()
WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
WHITEOUT_META = b".wh..wh."
"""Other names that begin so are housekeeping of the long gone aufs."""


def split(name: bytes, *, what: str = "name") -> Path:
    """The parts of an entry's name or of a hard link's target, `.` and doubled slashes left out.

    Raises:
        BadImage: empty, absolute, or with `..` or NUL in it.
    """
    if not name:
        raise BadImage(f"its {what} is empty")
    if name.startswith(b"/"):
        raise BadImage(f"its {what} is absolute and could lead out of the layer", hint="archive with relative names")
    if b"\0" in name:
        raise BadImage(f"its {what} has a NUL in it")
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise BadImage(f"its {what} has '..' in it and could lead out of the layer")
    return parts


def hidden_by(whiteout: bytes) -> bytes:
    """The name that a whiteout, the last part of an entry's name, hides.

    Raises:
        BadImage: none that a file could have.
    """
    name = whiteout.removeprefix(WHITEOUT)
    if name in (b"", b".", b".."):
        raise BadImage(f"it is a whiteout of {shown(name)!r}, which no file is called")
    return name


def check_length(parts: Path) -> None:
    """Refuse names no file system holds and paths nobody could open.

    Raises:
        BadImage: with the limit.
    """
    if any(len(part) > NAME_BYTES for part in parts):
        raise BadImage(f"its name is too long: a part of it has more than {NAME_BYTES} bytes")
    if sum(map(len, parts)) + len(parts) > PATH_BYTES:
        raise BadImage(f"its name is too long: it has more than {PATH_BYTES} bytes")
    if len(parts) > DEPTH:
        raise BadImage(f"its name is too deep: it has more than {DEPTH} parts")


def shown(name: bytes | Path) -> str:
    """A name for people: whatever bytes it has, on one line and not too long."""
    text = name if isinstance(name, bytes) else b"/".join(name)
    readable = repr(text.decode("utf-8", "surrogateescape"))[1:-1]
    return f"{readable[:200]}…" if len(readable) > 200 else readable
