"""Run a program where nobody can make a user namespace: `python -m tests.support.no_user_namespaces PROGRAM [ARGUMENT…]`.

As root. The limit is a user namespace's own, so one is made with the machine's ids in it, in which it is none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tfnode.process import kernel

IDS = "0 0 65536\n"


def main() -> None:
    ready, entered = os.pipe()
    mapped, go_on = os.pipe()
    child = os.fork()
    if child == 0:
        kernel.unshare(kernel.CLONE_NEWUSER)
        os.write(entered, b".")
        os.read(mapped, 1)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        os.execvp(sys.argv[1], sys.argv[1:])
    os.read(ready, 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(IDS)
    os.write(go_on, b".")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
