"""An image with a real Python: this machine's own interpreter, its library, what those need, and what an xterm can do.

python_image(directory)     `rootfs:` reference of an image with python3 and a shell
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tarfile
from pathlib import Path

from tests.support import rootfs

LEFT_OUT = (
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "site-packages",
    "dist-packages",
    "__pycache__",
)

TERMINFO = ("/usr/share/terminfo", "/lib/terminfo", "/etc/terminfo")
"""Where distributions say what terminals can do, for curses."""


def python_image(directory: Path) -> str:
    """Write it into the directory; the reference as a user gives it."""
    path = directory / "python.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(rootfs._template(), arcname=".", filter=rootfs._nobodys_time)
        interpreter = Path(os.path.realpath(sys.executable))
        library = Path(sysconfig.get_path("stdlib"))
        top = f"usr/local/lib/{library.name}"
        tar.add(interpreter, arcname="usr/local/bin/python3", filter=rootfs._nobodys_time)
        tar.add(library, arcname=top, filter=_wanted)
        for needed in rootfs.libraries_of([interpreter, *library.glob("lib-dynload/*.so")]):
            tar.add(os.path.realpath(needed), arcname=str(needed).lstrip("/"), filter=rootfs._nobodys_time)
        for terminal in filter(Path.exists, (Path(top, "x/xterm") for top in TERMINFO)):
            tar.add(terminal, arcname="lib/terminfo/x/xterm", filter=rootfs._nobodys_time)
    return f"rootfs:{path}"


def _wanted(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(info.name).name
    if name in LEFT_OUT or name.startswith("config-") or name.endswith(".a"):
        return None
    return rootfs._nobodys_time(info)
