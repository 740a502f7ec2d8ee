"""Become an ordinary user and run a program: `python -m tests.support.as_user NAME [--root] PROGRAM [ARGUMENT…]`, as root.

In a mount namespace of its own, in which the user can walk to the project, its Python and the example images wherever they
are: of a directory closed to others (/root, say) only the way to those is shown. Nothing is opened for anybody else.
With --root the program is run as what an ordinary user's node is: root of a user namespace.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfnode.kernel import mountcalls
from tfnode.process import kernel, userns

PROJECT = Path(__file__).parents[2]

NOBODY = 65534
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
)
"""Runs a command as an ordinary user, who may read everything: root's interpreter may lie in root's home directory."""


def needed() -> Iterator[Path]:
    """What the user's programs are made of."""
    yield PROJECT
    yield Path(sys.prefix)  # tox keeps its environments where nobody else may walk
    yield Path(sys.base_prefix).resolve()
    if images := os.environ.get("TF_EXAMPLE_IMAGES"):
        yield Path(images).resolve()


def show_the_way(paths: Iterable[Path]) -> None:
    """Make `paths` reachable for everybody in this mount namespace, which nobody else may have."""
    held = [(path, mountcalls.clone_mounts(path)) for path in paths if closed_above(path)]
    for path, fd in held:
        while above := closed_above(path):
            kernel.mount("way", above, "tmpfs", 0, "mode=0755")
        path.mkdir(parents=True, exist_ok=True)
        mountcalls.move(fd, path)
        os.close(fd)


def closed_above(path: Path) -> Path | None:
    """The outermost directory above `path` that others may not walk through."""
    return next((one for one in reversed(path.parents) if one.exists() and not one.stat().st_mode & stat.S_IXOTH), None)


def become(name: str) -> dict[str, str]:
    """Be that user; returns the environment of somebody who has just logged in."""
    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    kept = {key: value for key, value in os.environ.items() if key.startswith(("TF_", "PYTEST", "TERM", "LANG"))}
    path = f"{PROJECT}/.venv/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    login = {"HOME": user.pw_dir, "USER": name, "LOGNAME": name, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    # sockets and pytest's directories go with the home
    return {**kept, **login, "XDG_RUNTIME_DIR": user.pw_dir, "PYTEST_DEBUG_TEMPROOT": user.pw_dir}


def main() -> None:
    name, *command = sys.argv[1:]
    if to_be_root := command[0] == "--root":
        command = command[1:]
    kernel.unshare(kernel.CLONE_NEWNS)
    mountcalls.make_all_private()
    show_the_way(needed())
    environment = become(name)
    os.chdir(PROJECT)
    if to_be_root:
        userns.become_root()
        kernel.unshare(kernel.CLONE_NEWNS)
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main()
