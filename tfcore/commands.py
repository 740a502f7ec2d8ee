"""The one way to run another program: argv list, deadline, C locale, an error that carries the program's last words.

Never a shell string. Not for containers' processes (the runtime's business) and not for daemons.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from tfcore.errors import CommandFailed, HostLacks

LAST_WORDS = 2000
"""Characters of a failed program's output that its error carries."""


def run(
    argv: Sequence[str],
    *,
    timeout: float = 30.0,
    input: bytes | None = None,  # noqa: A002 - subprocess's own word
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> bytes:
    """Run `argv` and return what it wrote to stdout.

    Args:
        argv: program and arguments; never given to a shell.
        timeout: seconds until it is killed.
        input: bytes for its stdin; nothing by default.
        env: added to this process's environment; LC_ALL is always C.
        pass_fds: descriptors the program inherits.

    Raises:
        HostLacks: the program is not installed.
        CommandFailed: it ended with a status other than 0, or was killed at the deadline.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            pass_fds=pass_fds,
            check=False,
        )
    except FileNotFoundError as missing:
        raise HostLacks(f"{argv[0]} is not installed", hint=f"install the package that provides {argv[0]}") from missing
    except subprocess.TimeoutExpired as late:
        raise _failed(argv, f"killed after {timeout:g} s", late.stderr or b"") from late
    if done.returncode != 0:
        raise _failed(argv, f"status {done.returncode}", done.stderr or done.stdout)
    return done.stdout


def _failed(argv: Sequence[str], how: str, words: bytes) -> CommandFailed:
    said = words.decode("utf-8", "replace").strip()[-LAST_WORDS:]
    return CommandFailed(f"{shlex.join(argv)}: {how}: {said or 'no output'}", details={"program": argv[0], "how": how})
