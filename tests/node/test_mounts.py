"""Mounts as descriptors, in private mount namespaces and in those of running processes."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts
from tfcore.errors import TfError, WrongState
from tfnode.kernel import mountcalls, mounts
from tfnode.kernel.mountcalls import MountFailed
from tfnode.kernel.mounts import Attribute
from tfnode.storage.interface import BindMount, OverlayMount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")

OPENERS = [mounts.open_overlay, mounts.open_overlay_by_text]


@pytest.fixture
def private() -> Iterator[None]:
    with private_mounts():
        yield


def overlay(place: Path, layers: int = 2, *, name: str = "layer") -> OverlayMount:
    """Each layer has a file of its own."""
    lowers = []
    for number in range(layers):
        lowers.append(place / f"{name}-{number}")
        lowers[-1].mkdir(parents=True)
        (lowers[-1] / str(number)).touch()
    for directory in ("upper", "work"):
        (place / directory).mkdir()
    return OverlayMount(tuple(lowers), place / "upper", place / "work", volatile=True)


def listed(fd: int) -> set[str]:
    return set(os.listdir(f"/proc/self/fd/{fd}"))


@contextmanager
def opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


# --- making


@pytest.mark.parametrize("open_it", OPENERS)
def test_a_detached_overlay_can_be_used_and_is_nowhere(tmp_path: Path, open_it: type) -> None:
    description, before = overlay(tmp_path), mounts.mount_points()
    with opened(open_it(description)) as fd:
        assert mounts.mount_points() == before
        assert listed(fd) == {"0", "1"}
        os.unlink("0", dir_fd=fd)
        os.mkdir("new", dir_fd=fd)
        assert listed(fd) == {"1", "new"}
    assert (tmp_path / "upper/0").is_char_device()
    assert (tmp_path / "layer-0/0").exists()


@pytest.mark.parametrize("open_it", OPENERS)
def test_volatile_is_what_was_asked_for(tmp_path: Path, open_it: type) -> None:
    """A volatile overlay marks its work directory, and the kernel refuses that one the next time."""
    description = overlay(tmp_path)
    for _ in range(2):
        os.close(open_it(description.durable()))
    mark = description.work / "work/incompat/volatile"
    assert not mark.exists()
    os.close(open_it(description))
    assert mark.exists()
    with pytest.raises(MountFailed):
        open_it(description)


def test_a_file_system_that_takes_any_option_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As overlay before 6.5, which looks at what it was told when it is mounted."""
    assert mountcalls.takes_option("tmpfs", "size", "1m")
    assert not mountcalls.takes_option("tmpfs", "weight", "1m")
    monkeypatch.setattr(mountcalls, "_fsconfig", lambda *_: None)
    assert not mountcalls.takes_option("overlay", "lowerdir+", "/")


def test_more_layers_than_a_page_holds(tmp_path: Path) -> None:
    if not mounts.has_lowerdir_plus():
        pytest.skip("this kernel takes all layers in one page of options")
    description = overlay(tmp_path, 300, name="a-rather-long-name-for-the-directory-of-a-layer")
    with opened(mounts.open_overlay(description)) as fd:
        assert listed(fd) == {str(number) for number in range(300)}


def test_more_layers_than_a_page_holds_by_text_are_refused(tmp_path: Path) -> None:
    """mount(2) would cut the options and mount some of the layers, read-only, without an error."""
    description = overlay(tmp_path, 300)
    before = mounts.mount_points()
    with pytest.raises(MountFailed, match="mount options") as refused:
        mounts.open_overlay_by_text(description)
    assert refused.value.errno == errno.E2BIG
    assert mounts.mount_points() == before


@pytest.mark.parametrize("open_it", OPENERS)
@pytest.mark.parametrize("name", ["a:b", "a,b", "back\\slash", "with blank", "l" * 120])
def test_paths_of_any_kind(tmp_path: Path, open_it: type, name: str) -> None:
    """Separators and escapes of the option language, and values longer than fsconfig takes."""
    description = overlay(tmp_path / name / name / name, name=name)
    with opened(open_it(description)) as fd:
        assert listed(fd) == {"0", "1"}


def test_the_first_layer_is_the_top(tmp_path: Path) -> None:
    description = overlay(tmp_path)
    for number, lower in enumerate(description.lowers):
        (lower / "who").write_text(str(number))
    with (
        opened(mounts.open_overlay(description)) as fd,
        open("who", opener=lambda *_: os.open("who", 0, dir_fd=fd)) as who,
    ):
        assert who.read() == "0"


@pytest.mark.parametrize("open_it", OPENERS)
def test_a_refusal_has_the_kernels_words(tmp_path: Path, open_it: type) -> None:
    description = overlay(tmp_path)
    description.lowers[1].joinpath("1").unlink()
    description.lowers[1].rmdir()
    with pytest.raises(MountFailed, match=r"layer-1.*No such file") as refused:
        open_it(description)
    assert isinstance(refused.value, TfError)
    assert isinstance(refused.value, OSError)
    assert refused.value.errno == errno.ENOENT


def test_the_kernels_log_is_part_of_the_message() -> None:
    if not mounts.has_lowerdir_plus():
        pytest.skip("this kernel's overlay may be too old to write one")
    with pytest.raises(MountFailed, match=r"overlay: .*nonsense"):
        mountcalls.open_file_system("overlay", [("nonsense", "1")])


@pytest.mark.parametrize("open_it", OPENERS)
def test_a_refusal_names_what_was_to_be_mounted(tmp_path: Path, open_it: type) -> None:
    description = overlay(tmp_path)
    (tmp_path / "work/below").mkdir()
    impossible = OverlayMount(description.lowers, tmp_path / "work/below", tmp_path / "work", volatile=False)
    with pytest.raises(MountFailed, match=r"2 layers below .*/work/below.*Invalid argument"):
        open_it(impossible)


def test_redirects_of_a_layer_are_not_followed(tmp_path: Path) -> None:
    """An image could otherwise make one of its directories show another layer's, or one made by somebody else."""
    description = overlay(tmp_path)
    (tmp_path / "layer-0/shown").mkdir()
    (tmp_path / "layer-1/private").mkdir()
    (tmp_path / "layer-1/private/secret").touch()
    os.setxattr(tmp_path / "layer-0/shown", "trusted.overlay.redirect", b"/private")
    with opened(mounts.open_overlay(description)) as fd:
        shown: set[str] = set()
        with suppress(PermissionError):  # the kernel's answer to a redirect that it must not follow
            shown = set(os.listdir(f"/proc/self/fd/{fd}/shown"))
        assert "secret" not in shown


def test_tmpfs(tmp_path: Path) -> None:
    with opened(mounts.open_tmpfs(size=1 << 20, mode=0o1770, uid=100000, gid=100005)) as fd:
        status = os.stat(fd)
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o1770, 100000, 100005)
        with pytest.raises(OSError, match="No space"):
            Path(f"/proc/self/fd/{fd}/file").write_bytes(b"x" * (2 << 20))


def test_a_bind_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    with opened(mounts.open_bind(tmp_path / "file")) as fd:
        assert Path(f"/proc/self/fd/{fd}").read_text() == "content"


# --- attaching


@pytest.mark.usefixtures("private")
def test_mount_and_unmount(tmp_path: Path) -> None:
    target = tmp_path / "a target\\with blanks"
    target.mkdir()
    assert not mounts.is_mounted(target)
    mounts.mount_tree(overlay(tmp_path / "o"), target)
    assert mounts.is_mounted(target)
    assert {path.name for path in target.iterdir()} == {"0", "1"}
    mounts.unmount(target)
    assert not mounts.is_mounted(target)
    with pytest.raises(MountFailed, match=r"unmounting.*Invalid"):
        mounts.unmount(target)


@pytest.mark.usefixtures("private")
def test_a_bind_mount_counts_as_mounted(tmp_path: Path) -> None:
    """`os.path.ismount` does not see it: the device is the same on both sides."""
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    mounts.mount_tree(BindMount(tmp_path / "source"), tmp_path / "target")
    assert mounts.is_mounted(tmp_path / "target")
    assert not os.path.ismount(tmp_path / "target")


@pytest.mark.usefixtures("private")
def test_bind_takes_along_what_is_mounted_below(tmp_path: Path) -> None:
    for name in ("source/below", "target"):
        (tmp_path / name).mkdir(parents=True)
    mounts.mount("tmpfs", tmp_path / "source/below", "tmpfs", mounts.MS_NOSUID, "size=64k")
    (tmp_path / "source/below/file").touch()
    mounts.bind(tmp_path / "source", tmp_path / "target", Attribute.RDONLY)
    assert (tmp_path / "target/below/file").exists()
    with pytest.raises(OSError, match="Read-only"):
        (tmp_path / "target/below/file").unlink()
    (tmp_path / "source/below/file").unlink()


@pytest.mark.usefixtures("private")
def test_attributes(tmp_path: Path) -> None:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    everything = Attribute.RDONLY | Attribute.NOSUID | Attribute.NODEV | Attribute.NOEXEC
    mounts.mount_tree(BindMount(tmp_path / "source"), tmp_path / "target", everything)
    flags = os.statvfs(tmp_path / "target").f_flag
    assert flags & (os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC) == 15
    with pytest.raises(OSError, match="Read-only"):
        (tmp_path / "target/file").touch()
    (tmp_path / "source/file").touch()


@pytest.mark.usefixtures("private")
def test_many_at_once_from_worker_threads(tmp_path: Path) -> None:
    def once(number: int) -> set[str]:
        place = tmp_path / str(number)
        (place / "target").mkdir(parents=True)
        mounts.mount_tree(overlay(place), place / "target")
        try:
            return {path.name for path in (place / "target").iterdir()}
        finally:
            mounts.unmount(place / "target")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(once, range(40))) == [{"0", "1"}] * 40


def test_nothing_leaves_a_private_namespace(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with private_mounts():
        mounts.make_private()
        mounts.mount_tree(overlay(tmp_path / "o"), tmp_path / "target")
        assert mounts.is_mounted(tmp_path / "target")
    assert not mounts.is_mounted(tmp_path / "target")


# --- inside a running process


@contextmanager
def running(volume: Path, target: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in a mount namespace of its own, in which `volume` is mounted on `target`; it runs what it is told."""
    script = 'mount --bind "$0" "$1"; while echo done; read -r line; do eval "$line"; done'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, volume, target]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    with process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "done\n"
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], command: str) -> list[str]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{command}\n")
    return list(iter(process.stdout.readline, "done\n"))


@pytest.fixture
def volumes(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two directories that say their name, and where the first of them is to be mounted."""
    old, new, target = (tmp_path / name for name in ("old", "new", "target"))
    for directory in (old, new, target):
        directory.mkdir()
        (directory / "name").write_text(f"{directory.name}\n")
    return old, new, target


def test_replace_a_mount_in_a_running_process(volumes: tuple[Path, Path, Path]) -> None:
    old, new, target = volumes
    with running(old, target) as process, opened(mounts.open_bind(new)) as fd:
        told(process, f"exec 3< {target}/name")
        mounts.forbid(fd, Attribute.NOSUID | Attribute.NODEV)
        mounts.replace_mount(process.pid, target, fd)
        assert told(process, f"cat {target}/name") == ["new\n"]
        assert told(process, "cat <&3") == ["old\n"], "who has a file open keeps it"
        assert len(told(process, f"grep ' {target} ' /proc/self/mountinfo")) == 1
        assert "nosuid,nodev" in told(process, f"grep ' {target} ' /proc/self/mountinfo")[0]
    assert not mounts.is_mounted(target)


def test_a_process_whose_proc_is_another(volumes: tuple[Path, Path, Path]) -> None:
    """As a container's is: it shows its own processes only."""
    old, new, target = volumes
    with running(old, target) as process, opened(mounts.open_bind(new)) as fd:
        told(process, "mount -t tmpfs none /proc")
        mounts.replace_mount(process.pid, target, fd)
        assert told(process, f"cat {target}/name") == ["new\n"]


def test_links_on_the_way_are_followed(volumes: tuple[Path, Path, Path], tmp_path: Path) -> None:
    old, new, target = volumes
    (tmp_path / "link").symlink_to(tmp_path)
    with running(old, target) as process, opened(mounts.open_bind(new)) as fd:
        mounts.replace_mount(process.pid, tmp_path / "link" / target.name, fd)
        assert told(process, f"cat {target}/name") == ["new\n"]


def test_again_and_again(volumes: tuple[Path, Path, Path]) -> None:
    old, new, target = volumes
    with running(old, target) as process:
        for source in (new, old, new):
            with opened(mounts.open_bind(source)) as fd:
                mounts.replace_mount(process.pid, target, fd)
            assert told(process, f"cat {target}/name") == [f"{source.name}\n"]


def test_replace_with_an_overlay(volumes: tuple[Path, Path, Path], tmp_path: Path) -> None:
    old, _, target = volumes
    with running(old, target) as process, opened(mounts.open_overlay(overlay(tmp_path / "o"))) as fd:
        mounts.replace_mount(process.pid, target, fd)
        assert told(process, f"ls {target}; touch {target}/written") == ["0\n", "1\n"]
    assert (tmp_path / "o/upper/written").exists()


def test_replacing_where_the_kernel_cannot_mount_beneath(volumes: tuple[Path, Path, Path]) -> None:
    old, new, target = volumes
    with running(old, target) as process, opened(mounts.open_bind(new)) as fd:
        mounts.in_mount_namespace(process.pid, lambda: mounts.replace_with_gap(target, fd))
        assert told(process, f"cat {target}/name") == ["new\n"]
        assert len(told(process, f"grep ' {target} ' /proc/self/mountinfo")) == 1


@pytest.mark.parametrize("replace", ["replace_mount", "replace_with_gap"])
def test_a_failed_replacement_leaves_the_old(volumes: tuple[Path, Path, Path], replace: str) -> None:
    old, _, target = volumes
    with running(old, target) as process, open(old / "name") as not_a_mount:
        attempts = {
            "replace_mount": lambda: mounts.replace_mount(process.pid, target, not_a_mount.fileno()),
            "replace_with_gap": lambda: mounts.in_mount_namespace(
                process.pid, lambda: mounts.replace_with_gap(target, not_a_mount.fileno())
            ),
        }
        with pytest.raises(MountFailed):
            attempts[replace]()
        assert told(process, f"cat {target}/name") == ["old\n"]


def test_replacing_nothing_is_refused(volumes: tuple[Path, Path, Path]) -> None:
    old, new, target = volumes
    with running(old, target) as process, opened(mounts.open_bind(new)) as fd:
        with pytest.raises(WrongState, match=f"nothing is mounted on {new}"):
            mounts.replace_mount(process.pid, new, fd)
        assert told(process, f"cat {new}/name") == ["new\n"]


def test_add_a_mount_to_a_running_process(volumes: tuple[Path, Path, Path], tmp_path: Path) -> None:
    old, new, target = volumes
    with running(old, target) as process, opened(mounts.open_bind(new)) as fd:
        mounts.add_mount(process.pid, tmp_path / "late/mount", fd)
        assert told(process, f"cat {tmp_path}/late/mount/name") == ["new\n"]
    assert list((tmp_path / "late/mount").iterdir()) == []


@pytest.mark.parametrize("waited_for", [True, False])
def test_a_process_that_is_gone(volumes: tuple[Path, Path, Path], waited_for: bool) -> None:
    old, new, target = volumes
    with running(old, target) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | (0 if waited_for else os.WNOWAIT))
        with opened(mounts.open_bind(new)) as fd, pytest.raises(ProcessLookupError, match="has ended"):
            mounts.replace_mount(process.pid, target, fd)


def test_the_calling_thread_stays_where_it_is(volumes: tuple[Path, Path, Path]) -> None:
    old, _, target = volumes
    before = os.stat("/proc/thread-self/ns/mnt").st_ino, os.getcwd()
    with running(old, target) as process:
        seen = mounts.in_mount_namespace(process.pid, lambda: os.stat("/proc/thread-self/ns/mnt").st_ino)
        assert seen != before[0]
    assert (os.stat("/proc/thread-self/ns/mnt").st_ino, os.getcwd()) == before
