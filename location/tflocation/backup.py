"""A location in one file: written while its daemon runs, checked and put back into a directory that has none.

A tar file: `manifest.json` first (what it is, and the digest of each member), then the members of a location's directory.
It holds the location's secret key. Images are left out unless asked for: clients upload them again when they are needed.
Nodes' data (volumes, snapshots) are on the nodes, and stay there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

import tfcore
from tfcore import keys
from tfcore.errors import BadRequest, Exhausted, NotFound, TfError, WrongState
from tflocation import options
from tflocation.directory import Directory
from tflocation.store.database import MIGRATIONS, Database

FORMAT = 1
SMALL = ("location.toml", "location.key", "location.key.pub", "operator", "operator.pub")
STORE = "location.sqlite"
IMAGES = "images"
MANIFEST = "manifest.json"
CHUNK = 1 << 20


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself. `made` is seconds since the epoch, `members` name to SHA-256 in hexadecimal."""

    format: int
    name: str
    version: str
    made: float
    images: bool
    members: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """Of a backup or a restoration: the manifest, the size in bytes, and where what was there before is now."""

    manifest: Manifest
    size: int
    aside: Path | None = None


# there


def back_up(directory: Directory, file: Path, *, images: bool = False) -> Outcome:
    """Write a backup of a location, whether its daemon runs or not. The file appears when it is complete.

    Raises:
        NotFound: there is no location.
        WrongState: the file is there already.
        Exhausted: the disk is full.
    """
    directory.server_keys()
    name = options.read(directory.config).name
    if file.exists():
        raise WrongState(f"{file} exists", hint="give another name, or remove it")
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as scratch:
            members = dict(_gathered(directory, Path(scratch), images=images))
            manifest = Manifest(
                format=FORMAT, name=name, version=tfcore.VERSION, made=time.time(), images=images,
                members={member: _digest(path) for member, path in members.items()},
            )  # fmt: skip
            _write(aside, manifest, members)
        aside.rename(file)
    except OSError as error:
        raise Exhausted(f"cannot write {file}: {error.strerror}", hint="choose a disk with room") from error
    finally:
        aside.unlink(missing_ok=True)
    return Outcome(manifest, file.stat().st_size)


def _gathered(directory: Directory, scratch: Path, *, images: bool) -> Iterator[tuple[str, Path]]:
    """Name and file of each member; databases as they are at this moment."""
    for name in SMALL:
        if (directory.root / name).exists():
            yield name, directory.root / name
    store = scratch / STORE
    with closing(Database(directory.store)) as database:
        database.copy_to(store)
    yield STORE, store
    if images and directory.images.exists():
        yield from _images(directory.images, scratch)


def _images(cache: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """The index first: a blob that arrives later is not in it, and one that goes meanwhile is forgotten at the start."""
    index = scratch / "images.sqlite"
    with contextlib.suppress(sqlite3.OperationalError), closing(_opened(cache / index.name)) as source:
        index.touch(mode=0o600)
        with closing(sqlite3.connect(index)) as copy:
            source.backup(copy)
        yield f"{IMAGES}/{index.name}", index
    for path in sorted(cache.rglob("*")):
        if path.is_file() and path.parent.name == "sha256":
            linked = scratch / path.name
            with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                _hold(path, linked)
                yield f"{IMAGES}/{path.relative_to(cache)}", linked


def _hold(path: Path, linked: Path) -> None:
    """Have the content of `path`, whatever becomes of that name; on one disk this costs nothing."""
    try:
        os.link(path, linked)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, linked)


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, manifest: Manifest, members: dict[str, Path]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
            about = tarfile.TarInfo(MANIFEST)
            about.size, about.mode, about.mtime = len(text), 0o600, int(manifest.made)
            archive.addfile(about, io.BytesIO(text))
            for name, member in members.items():
                archive.add(member, name, recursive=False, filter=_plain)
        file.flush()
        os.fsync(file.fileno())


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's name and nobody's file but the location's."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o600
    return info


# and back again


def restore(file: Path, directory: Directory, *, force: bool = False) -> Outcome:
    """Make the location of a backup in `directory`; all of it is checked before anything changes.

    Args:
        force: also over a location that is there, which is moved aside. Its daemon must not run.

    Raises:
        NotFound: there is no such file.
        BadRequest: it is no backup, or a damaged one.
        WrongState: there is a location, or a newer version has written the backup.
    """
    there = directory.key.exists()
    if there and not force:
        raise WrongState(f"{directory.root} holds a location already", hint="use another --dir; --force moves it aside")
    if directory.root.exists() and any(directory.root.iterdir()) and not there and not force:
        raise WrongState(f"{directory.root} is not empty", hint="use another --dir; --force moves it aside")
    if there:
        _refuse_running(directory)
    directory.root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.root.parent, prefix=".restore-") as scratch:
        new = Path(scratch) / "location"
        new.mkdir(mode=0o700)
        manifest = _unpack(file, new)
        _check(Directory(new), manifest)
        aside = _put(new, directory.root)
    return Outcome(manifest, file.stat().st_size, aside)


def _refuse_running(directory: Directory) -> None:
    from tflocation.images.cache import ImageCache

    try:
        ImageCache(directory.images).close()  # its lock is the daemon's
    except WrongState as taken:
        raise WrongState(f"the daemon of {directory.root} is running", hint="stop it first") from taken


def _unpack(file: Path, into: Path) -> Manifest:
    try:
        with tarfile.open(file, mode="r:") as archive:
            manifest = _manifest(archive, file)
            while (info := archive.next()) is not None:
                if info.name not in manifest.members or not info.isreg():
                    raise BadRequest(f"{file}: {info.name[:200]!r} does not belong into a backup")
                _unpack_member(archive, info, into)
    except FileNotFoundError as missing:
        raise NotFound(f"there is no {file}") from missing
    except (tarfile.TarError, EOFError) as bad:
        raise BadRequest(f"{file} is not a backup of a location: {bad}") from bad
    for name, digest in manifest.members.items():
        if not (into / name).exists() or _digest(into / name) != digest:
            raise BadRequest(f"{file} is damaged: {name} is not as it was written", hint="take another backup")
    return manifest


def _manifest(archive: tarfile.TarFile, file: Path) -> Manifest:
    first = archive.next()
    content = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
    if content is None:
        raise BadRequest(f"{file} is not a backup of a location")
    try:
        manifest = msgspec.json.decode(content.read(64 << 20), type=Manifest)
    except msgspec.MsgspecError as bad:
        raise BadRequest(f"{file} is not a backup of a location: {bad}") from bad
    if manifest.format != FORMAT:
        raise WrongState(f"{file} was written by version {manifest.version}", hint="upgrade this tf-location")
    for name in manifest.members:
        parts = Path(name).parts
        if name not in (*SMALL, STORE) and (parts[0] != IMAGES or ".." in parts or len(parts) > 5):
            raise BadRequest(f"{file}: {name[:200]!r} does not belong into a backup")
    return manifest


def _unpack_member(archive: tarfile.TarFile, info: tarfile.TarInfo, into: Path) -> None:
    path = into / info.name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = archive.extractfile(info)
    assert source is not None  # it is a regular file
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as target:
        shutil.copyfileobj(source, target, CHUNK)


def _check(directory: Directory, manifest: Manifest) -> None:
    """What would keep the daemon from starting."""
    options.read(directory.config)
    pair = directory.server_keys()
    keys.load(directory.operator)
    with closing(sqlite3.connect(directory.store)) as store:
        (verdict,) = store.execute("PRAGMA integrity_check").fetchone()
        (schema,) = store.execute("PRAGMA user_version").fetchone()
    if verdict != "ok":
        raise BadRequest(f"the store in the backup is damaged: {verdict}", hint="take another backup")
    if schema > len(list(MIGRATIONS.glob("*.sql"))):
        raise WrongState(
            f"the backup was written by version {manifest.version}, which is newer", hint="upgrade this tf-location"
        )
    published = directory.key.with_name(directory.key.name + ".pub")
    if published.exists() and keys.key_from(published.read_text()) != pair.public:
        raise BadRequest("the public key in the backup is not that of the secret key", hint="take another backup")


def _put(new: Path, root: Path) -> Path | None:
    """`new` in the place of `root`; where that is now, if there was one."""
    aside = None
    if root.exists():
        aside = root.with_name(f"{root.name}.before-{time.strftime('%Y%m%d-%H%M%S')}")
        root.rename(aside)
    try:
        new.rename(root)
    except OSError as error:
        if aside is not None:
            aside.rename(root)
        raise TfError(f"cannot put {root} in place: {error.strerror}") from error
    return aside
