"""Mounts as descriptors: overlays, binds and tmpfs, attached wherever they are needed.

A mount is first made *detached*: a descriptor of a mount that is nowhere in any tree, and goes away with the descriptor. It
is then attached to a path of the calling thread's mount namespace, or to one inside a running container. All of it can be
called from any thread; a thread of its own enters the container's namespace.

Knows what the storage seam's descriptions mean, nothing of drivers, containers or keys. Linux 5.12; an overlay of more
layers than fit one page of options needs 6.8.
"""

from __future__ import annotations

import enum
import errno
import functools
import os
import re
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Generic, TypeVar

from tfcore.errors import MountFailed, WrongState
from tfcore.undo import Undo
from tfnode.kernel import mountcalls
from tfnode.kernel.confinement import confined
from tfnode.kernel.mountcalls import mount_failed
from tfnode.storage.interface import BindMount, Mount, OverlayMount

T = TypeVar("T")

OVERLAY_OPTIONS: Final = {"redirect_dir": "nofollow", "index": "off", "metacopy": "off"}
"""The same semantics whatever the distribution chose as its kernel's defaults: an upper can be copied, and a layer from an
image cannot point elsewhere by a redirect of its own."""

CONFINED_OPTIONS: Final = {"index": "off"}
"""In a user namespace, with `userxattr`: it takes no option about redirects and metacopy, and has neither (5.11)."""

MS_NOSUID: Final = 0x02
MS_NODEV: Final = 0x04
MS_NOEXEC: Final = 0x08
"""linux/mount.h, for `mount`"""

_LONGEST_VALUE: Final = 255
"""Bytes of one value that fsconfig(2) takes."""


class Attribute(enum.IntFlag):
    """What a mount forbids (mount_setattr(2))."""

    NONE = 0
    RDONLY = 0x01
    NOSUID = 0x02
    NODEV = 0x04
    NOEXEC = 0x08


# --- making detached mounts


def open_mount(description: Mount) -> int:
    """A descriptor of the detached mount that a driver described; closing it undoes the mount unless it was attached.

    Raises:
        MountFailed: the kernel refused.
    """
    match description:
        case OverlayMount():
            return open_overlay(description)
        case BindMount(source):
            return open_bind(source)


def open_overlay(description: OverlayMount) -> int:
    """A descriptor of a detached overlay.

    Raises:
        MountFailed: the kernel refused; before 6.8 also when the layers do not fit one page of options, which mount(2)
            would cut without a word.
    """
    if not has_lowerdir_plus():
        return open_overlay_by_text(description)
    with ExitStack() as stack, _named(description):
        options = [("lowerdir+", _nameable(lower, stack)) for lower in description.lowers]
        options += [("upperdir", _nameable(description.upper, stack)), ("workdir", _nameable(description.work, stack))]
        settings, flags = _settings(description)
        return mountcalls.open_file_system("overlay", [*options, *settings.items()], flags)


def open_overlay_by_text(description: OverlayMount) -> int:
    """What `open_overlay` does on kernels before 6.8: mount(2) on a passing directory, then take the mount off it.

    Raises:
        MountFailed: the kernel refused, or there are too many layers for it.
    """
    with ExitStack() as stack, _named(description):
        passing = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tf-overlay-")))
        mount("overlay", passing, "overlay", options=_options_text(description, stack))
        stack.callback(unmount, passing)
        return open_bind(passing)


def _options_text(description: OverlayMount, stack: ExitStack) -> str:
    options = {
        "lowerdir": ":".join(_by_descriptor(lower, stack) for lower in description.lowers),
        "upperdir": _by_descriptor(description.upper, stack),
        "workdir": _by_descriptor(description.work, stack),
    }
    settings, flags = _settings(description)
    return ",".join([*(f"{key}={value}" for key, value in {**options, **settings}.items()), *flags])


def _settings(description: OverlayMount) -> tuple[Mapping[str, str], list[str]]:
    """The options that are the same for all overlays, and those without a value."""
    flags = ["volatile"] if description.volatile else []
    return (CONFINED_OPTIONS, [*flags, "userxattr"]) if confined() else (OVERLAY_OPTIONS, flags)


@contextmanager
def _named(description: OverlayMount) -> Iterator[None]:
    """The kernel's words say what is wrong, rarely with what."""
    try:
        yield
    except MountFailed as refused:
        what = f"an overlay of {len(description.lowers)} layers below {description.upper}"
        raise mount_failed(f"{what}: {refused.message}", refused.errno or 0) from refused


@functools.cache
def has_lowerdir_plus() -> bool:
    """True if the kernel takes an overlay's layers one by one (6.8), so that a page does not limit their number."""
    return mountcalls.takes_option("overlay", "lowerdir+", "/")


def open_bind(source: Path) -> int:
    """A descriptor of a detached mount that shows `source`, a directory or a file, without what is mounted below it.

    Raises:
        MountFailed: the kernel refused.
    """
    return mountcalls.clone_mount(source)


def open_tmpfs(*, size: int, mode: int = 0o1777, uid: int = 0, gid: int = 0) -> int:
    """A descriptor of a detached, empty tmpfs.

    Args:
        size: bytes it may hold.
        mode: of its root directory.
        uid: its owner.
        gid: its group.

    Raises:
        MountFailed: the kernel refused.
    """
    options = [("size", str(size)), ("mode", f"{mode:o}"), ("uid", str(uid)), ("gid", str(gid))]
    return mountcalls.open_file_system("tmpfs", options)


def forbid(fd: int, attributes: Attribute) -> None:
    """Let a mount, attached or not, forbid things; MountFailed if the kernel refuses."""
    mountcalls.set_attributes(fd, forbidden=int(attributes))


# --- attaching and letting go


def attach(fd: int, target: Path) -> None:
    """Attach a detached mount to `target`, in the calling thread's mount namespace. `fd` stays open, and the caller's.

    Raises:
        MountFailed: the kernel refused.
    """
    mountcalls.move(fd, target)


def mount_tree(description: Mount, target: Path, attributes: Attribute = Attribute.NONE) -> None:
    """Make the mount that a driver described and attach it to `target`; MountFailed if the kernel refuses."""
    _attach_once(open_mount(description), target, attributes)


def bind(source: Path, target: Path, attributes: Attribute = Attribute.NONE) -> None:
    """Make `source`, a directory or a file, with everything mounted below it, appear at `target` as well.

    The new mounts have the attributes from their first moment on, and a user namespace that gets a copy of them cannot take
    them away.

    Raises:
        MountFailed: one of the two does not exist, or the kernel refused.
    """
    _attach_once(mountcalls.clone_mounts(source), target, attributes)


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount a file system that needs nothing of the above by mount(2): cgroup, proc, sysfs.

    Args:
        source: a device, or any word where there is none.
        target: an existing directory.
        kind: the file system's type.
        flags: MS_….
        options: the file system's own, comma-separated, less than a page.

    Raises:
        MountFailed: the kernel refused.
    """
    mountcalls.mount(source, target, kind, flags, options)


def _attach_once(fd: int, target: Path, attributes: Attribute) -> None:
    try:
        forbid(fd, attributes)
        attach(fd, target)
    finally:
        os.close(fd)


def unmount(target: Path) -> None:
    """Take away what is mounted on `target`. Whoever still uses it keeps it until they let go; nobody new gets in.

    Raises:
        MountFailed: nothing is mounted there.
    """
    mountcalls.detach(target)


def make_private() -> None:
    """Stop all mounts of this namespace from propagating to and from others; MountFailed if the kernel refuses."""
    mountcalls.make_all_private()


def mount_points() -> list[Path]:
    """Where something is mounted in the calling thread's mount namespace, in the order it was mounted."""
    return _points_in("thread-self")


def _points_in(process: str) -> list[Path]:
    with open(f"/proc/{process}/mountinfo", "rb") as table:
        return [Path(os.fsdecode(_unescaped(line.split()[4]))) for line in table]


def is_mounted(target: Path) -> bool:
    """True if something, a bind mount included, is mounted on exactly `target` (absolute, without symbolic links)."""
    return target in mount_points()


# --- inside a running container


def replace_mount(pid: int, target: Path, fd: int) -> None:
    """Put a detached mount in the place of what is mounted on `target` inside the mount namespace of process `pid`.

    There is no moment without a mount where the kernel can slip the new one beneath the old (6.5). Files that are open keep
    the old one; it goes when they are closed. `fd` stays the caller's.

    Args:
        pid: a process of the container, as seen from here.
        target: absolute, as seen by that process; symbolic links on the way are followed, as at the first mount.
        fd: from one of the functions above.

    Raises:
        WrongState: nothing is mounted there; `add_mount` is for that.
        MountFailed: the kernel refused; the old mount is still there.
        ProcessLookupError: there is no such process.
    """
    with _ends_told(pid):
        points = _points_in(str(pid))  # looked up from here: in there, /proc is one that does not know us
    in_mount_namespace(pid, lambda: _replace(target, fd, points))


def add_mount(pid: int, target: Path, fd: int) -> None:
    """Attach a detached mount to `target` inside the mount namespace of process `pid`; a missing directory is made.

    Raises:
        MountFailed: the kernel refused.
        ProcessLookupError: there is no such process.
        OSError: `target` cannot be made.
    """

    def add() -> None:
        target.mkdir(parents=True, exist_ok=True)
        attach(fd, target)

    in_mount_namespace(pid, add)


def in_mount_namespace(pid: int, work: Callable[[], T]) -> T:
    """Run `work` in a thread that has entered the mount namespace of process `pid`: its root is that namespace's root.

    Returns:
        What `work` returned; what it raised is raised here.

    Raises:
        ProcessLookupError: there is no such process.
        MountFailed: its namespace cannot be entered.
    """
    with _ends_told(pid):
        namespace = os.open(
            f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC
        )  # before entering: /proc is another there
    try:
        visitor = _Visitor(namespace, work)
        visitor.start()
        visitor.join()
    finally:
        os.close(namespace)
    if visitor.error is not None:
        raise visitor.error
    return visitor.results[0]


class _Visitor(threading.Thread, Generic[T]):
    """A thread for one visit to another mount namespace; it ends there."""

    def __init__(self, namespace: int, work: Callable[[], T]) -> None:
        super().__init__(name="mount-namespace-visitor")
        self._namespace = namespace
        self._work = work
        self.results: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            mountcalls.part_with_shared_root()
            mountcalls.enter_namespace(self._namespace)
            self.results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self.error = error


@contextmanager
def _ends_told(pid: int) -> Iterator[None]:
    """A process that has ended has no directory in /proc, or one whose files cannot be opened (EINVAL) or read (ESRCH)."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL, errno.ESRCH):
            raise
        raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended") from error


def _replace(target: Path, fd: int, points: Collection[Path]) -> None:
    place = Path(os.path.realpath(target))
    if place not in points:
        raise WrongState(f"nothing is mounted on {target} in the container")
    try:
        mountcalls.move_beneath(fd, place)
    except MountFailed as refused:
        if refused.errno != errno.EINVAL:
            raise
        replace_with_gap(place, fd)
    else:
        unmount(place)


def replace_with_gap(target: Path, fd: int) -> None:
    """`replace_mount` in the calling thread's namespace for kernels before 6.5: for a moment nothing is there.

    Raises:
        MountFailed: the kernel refused; the old mount is back.
    """
    old = open_bind(target)
    try:
        with Undo() as undo:
            unmount(target)
            undo.push(attach, old, target)
            attach(fd, target)
            undo.done()
    finally:
        os.close(old)


def _nameable(path: Path, stack: ExitStack) -> str:
    """A name of `path` that fsconfig takes and overlayfs does not read as an escape."""
    text = str(path)
    if len(os.fsencode(text)) <= _LONGEST_VALUE and not re.search(r"[\\:,]", text):
        return text
    return _by_descriptor(path, stack)


def _by_descriptor(path: Path, stack: ExitStack) -> str:
    """A short name of `path` that needs no escapes and holds while the stack does."""
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise mount_failed(f"{path}: {error.strerror}", error.errno or 0) from error
    stack.callback(os.close, fd)
    return f"/proc/self/fd/{fd}"


def _unescaped(field: bytes) -> bytes:
    """A path of /proc/…/mountinfo: blanks and backslashes are written as three octal digits."""
    return re.sub(rb"\\([0-7]{3})", lambda digits: bytes([int(digits[1], 8)]), field)
