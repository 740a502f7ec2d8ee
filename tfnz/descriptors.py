"""Writing to descriptors that others have opened: terminals, pipes, files. Knows nothing of what is written."""

from __future__ import annotations

import os
import select


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, however long that takes; also where somebody has set the descriptor to not block.

    Raises:
        OSError: it cannot be written; BrokenPipeError: whoever reads has gone.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
