"""A real small root file system for containers in tests, made of this machine's own programs and their libraries.

    tiny_rootfs(path)                     a directory tree
    rootfs_tar(path)                      the same as a tar file (`rootfs:` images)
    docker_archive(path, "name:tag", …)   the same as `docker save` writes it (`docker-archive:` images)

Users inside: root, web (101:101, home /srv/web, also in group extra, 500).
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NEEDED = """
    dash cat echo ls id env stat mkdir rmdir rm ln mv cp touch true false sleep head tail readlink pwd chmod chown dd
    wc sort tr seq printf uname tee sync test mount umount unshare hostname grep sed kill ps nice stty tty
"""
"""Essential packages of Debian and its relatives have all of them."""

WELCOME = "perl"
"""For system calls that no program makes (`perl -e 'syscall …'`) and for servers in one line."""

DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "run", "srv/web", "sys", "tmp", "usr/bin", "var/lib")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:101:a server:/srv/web:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:101:\nextra:x:500:web\n"

LIBRARY = re.compile(r"(?:=>\s*|^\s*)(/\S+) \(0x", re.MULTILINE)
"""A library with a file, in the output of ldd."""


def tiny_rootfs(path: Path, *, owner: int = 0) -> Path:
    """Make the tree at `path`, which must not exist; `owner` is the id on disk of the user and group that are 0 inside.

    Returns `path`. Made once per process and copied from then on.
    """
    subprocess.run(["cp", "-a", "--reflink=auto", _template(), path], check=True)
    if owner:
        _shift(path, owner)
    return path


def has_perl() -> bool:
    """True if the tree has perl."""
    return shutil.which("perl") is not None


def rootfs_tar(path: Path) -> Path:
    """Write the tree as an uncompressed tar file to `path`; returns `path`."""
    with tarfile.open(path, "w") as tar:
        tar.add(_template(), arcname=".", filter=_nobodys_time)
    return path


def docker_archive(path: Path, name: str, config: Mapping[str, Any]) -> Path:
    """Write an image of one layer as `docker save` does.

    Args:
        path: of the archive.
        name: repository and tag ("tiny:latest").
        config: the image's own `config` object: Cmd, Entrypoint, Env, …

    Returns `path`.
    """
    layer = rootfs_tar(path.with_suffix(".layer")).read_bytes()
    path.with_suffix(".layer").unlink()
    digest = hashlib.sha256(layer).hexdigest()
    image = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    description = json.dumps(image).encode()
    file = f"{hashlib.sha256(description).hexdigest()}.json"
    manifest = [{"Config": file, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    members = {"manifest.json": json.dumps(manifest).encode(), file: description, f"{digest}/layer.tar": layer}
    with tarfile.open(path, "w") as tar:
        for member, content in members.items():
            tar.addfile(_member(member, len(content)), io.BytesIO(content))
    return path


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _nobodys_time(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same bytes, and so the same digest, whenever it is made."""
    info.mtime = 1_000_000_000
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


@functools.cache
def _template() -> Path:
    top = Path(tempfile.mkdtemp(prefix="tiny-rootfs-"))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    tree = top / "tree"
    for directory in DIRECTORIES:
        (tree / directory).mkdir(parents=True)
    programs = [Path(found) for name in (NEEDED + WELCOME).split() if (found := shutil.which(name))]
    for program in programs:
        shutil.copy(program.resolve(), tree / "bin" / program.name)
    for library in libraries_of(programs):
        _copy_library(library, tree)
    (tree / "bin/sh").symlink_to("dash")
    (tree / "etc/passwd").write_text(PASSWD)
    (tree / "etc/group").write_text(GROUP)
    (tree / "tmp").chmod(0o1777)
    tree.chmod(0o755)
    return tree


def libraries_of(programs: Iterable[Path]) -> set[Path]:
    """What programs of this machine are linked with, the loader included."""
    listed = subprocess.run(["ldd", *programs], stdout=subprocess.PIPE, text=True, check=False).stdout
    return {Path(found) for found in LIBRARY.findall(listed)}


def _copy_library(library: Path, tree: Path) -> None:
    """Under the name the loader looks for, which may be a link or lie below one (/lib64)."""
    target = tree / library.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(library.resolve(), target)


def _shift(tree: Path, by: int) -> None:
    """chown takes the setuid bit away, so the mode is put back."""
    for directory, _, files in os.walk(tree):
        for name in (".", *files):
            file = Path(directory, name)
            mode = file.lstat().st_mode
            os.lchown(file, by, by)
            if not stat.S_ISLNK(mode):
                file.chmod(stat.S_IMODE(mode))
