"""How the C library's allocator serves the agent's threads.

glibc gives each thread an arena of its own, up to eight for a core, and an arena keeps what its threads have freed. After
some thousand rollbacks most of the agent's memory was such free pieces (malloc_info(3) said: 10 MB in use, 40 MB free, in
16 arenas). Its threads work one at a time anyway, so two arenas do.
"""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
"""glibc's malloc.h (mallopt(3))."""

ARENAS = 2


def share_arenas() -> bool:
    """From now on no more than `ARENAS` are made; to be called before threads are. False where the C library has no such
    thing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, ARENAS))
