"""Which extended attributes of an archive are put on files, and in what form.

Kept: `user.*`, and `security.capability` rewritten for the container's user namespace. Left out silently, because they
mean nothing there or would mean something to the host: `trusted.*` (overlayfs's own marks), `user.overlay.*` (the same
without root), `security.*` (labels and signatures of another machine's policy) and `system.*` (ACLs with unshifted ids).
Knows nothing of tar.
"""

from __future__ import annotations

import struct

from tfcore.errors import BadImage
from tfnode.images.shift import IdShift

CAPABILITY = b"security.capability"

# linux/capability.h, struct vfs_cap_data and vfs_ns_cap_data
_REVISION = 0xFF000000
_EFFECTIVE = 0x000001
_V1, _V2, _V3 = 0x01000000, 0x02000000, 0x03000000
_FORMS = {_V1: struct.Struct("<3I"), _V2: struct.Struct("<5I"), _V3: struct.Struct("<6I")}


def kept(xattrs: dict[bytes, bytes], shift: IdShift) -> dict[bytes, bytes]:
    """What of an entry's attributes is put on its file, as name and value.

    Raises:
        BadImage: file capabilities that are malformed.
        BadRequest: file capabilities for a root user outside the container's ids.
    """
    chosen = {}
    for name, value in xattrs.items():
        if name == CAPABILITY:
            chosen[name] = shifted_capability(value, shift)
        elif name.startswith(b"user.") and not name.startswith(b"user.overlay."):
            chosen[name] = value
    return chosen


def shifted_capability(value: bytes, shift: IdShift) -> bytes:
    """File capabilities that hold in the user namespace whose root is `shift`'s (capabilities(7), version 3).

    Raises:
        BadImage: `value` is none of versions 1 to 3.
        BadRequest: it is of version 3 for a root user outside the container's ids.
    """
    magic = int.from_bytes(value[:4], "little")
    form = _FORMS.get(magic & _REVISION)
    if form is None or form.size != len(value):
        raise BadImage(f"its file capabilities are malformed: {value[:32].hex()}")
    _, *sets = form.unpack(value)
    root = sets.pop() if form is _FORMS[_V3] else 0
    sets += [0] * (4 - len(sets))
    return _FORMS[_V3].pack(_V3 | magic & _EFFECTIVE, *sets, shift.uid(root))
