"""Files put into a root and fetched from it: whole or not at all, and never outside, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts
from tfcore.errors import BadRequest, Exhausted, NotFound, TfError, Unavailable, WrongState
from tfnode.containers.files import PIECE, fetch, put
from tfnode.images.shift import IdShift
from tfnode.kernel.paths import open_root

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners on disk need root")

IDS = IdShift(uid_base=100_000, gid_base=200_000)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A container's root; beside it a file that must never be reached."""
    (tmp_path / "secret").write_text("outside")
    inside = tmp_path / "root"
    (inside / "etc").mkdir(parents=True)
    (inside / "etc/passwd").write_text("inside")
    yield inside
    assert sorted(os.listdir(tmp_path)) == ["root", "secret"]
    assert (tmp_path / "secret").read_text() == "outside"
    assert not list(inside.rglob(".*.new")), "an unfinished file was left"


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    fd = open_root(tree)
    before = set(os.listdir("/proc/self/fd"))
    yield fd
    assert set(os.listdir("/proc/self/fd")) == before, "a descriptor was left open"
    os.close(fd)


def fetched(root: int, path: str) -> bytes:
    size, pieces = fetch(root, path)
    content = b"".join(pieces)
    assert len(content) == size
    return content


def shown(path: Path) -> tuple[str, int, int]:
    """Mode, and owner inside the container."""
    status = path.lstat()
    return stat.filemode(status.st_mode), status.st_uid - IDS.uid_base, status.st_gid - IDS.gid_base


# --- as the seeds say


def test_a_new_path_is_created(root: int, tree: Path) -> None:
    assert put(root, "/usr/new/path", [b"Some ", b"data"], ids=IDS) == 9
    assert fetched(root, "/usr/new/path") == b"Some data"
    assert shown(tree / "usr/new/path") == ("-rw-r--r--", 0, 0)
    assert shown(tree / "usr/new") == ("drwxr-xr-x", 0, 0)


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
def test_files_of_any_size_come_back(root: int, size: int) -> None:
    content = os.urandom(size)
    put(root, "/file", (content[start : start + 1000] for start in range(0, size, 1000)), ids=IDS)
    assert fetched(root, "/file") == content


@pytest.mark.parametrize("path", ["etc/passwd", "", "../secret", "/../secret", "/etc/../../secret", "/etc/..", "/a\0b"])
def test_paths_outside_are_refused_as_value_errors(root: int, path: str) -> None:
    with pytest.raises(BadRequest):
        fetch(root, path)
    with pytest.raises(ValueError, match=r"."):
        put(root, path, [b"x"], ids=IDS)


@pytest.mark.parametrize("path", ["/", "/etc/", "/etc", "/etc/.", "/."])
def test_directories_are_refused_as_value_errors(root: int, tree: Path, path: str) -> None:
    with pytest.raises(ValueError, match=f"{path!r} (is|names) a directory"):
        fetch(root, path)
    with pytest.raises(ValueError, match=f"{path!r} (is|names) a directory"):
        put(root, path, [b"x"], ids=IDS)
    assert (tree / "etc/passwd").exists()


def test_a_missing_file_is_not_found(root: int) -> None:
    for path in ("/etc/shadow", "/no/such/directory"):
        with pytest.raises(NotFound, match=f"'{path}' is not in the container"):
            fetch(root, path)


def test_too_long_paths_are_refused(root: int) -> None:
    for path in ("/" + "n" * 256, "/" + "n/" * 3000 + "n"):
        with pytest.raises(BadRequest):
            fetch(root, path)
        with pytest.raises(BadRequest):
            put(root, path, [b""], ids=IDS)


def test_a_file_is_no_directory(root: int) -> None:
    with pytest.raises(BadRequest, match="no directory"):
        fetch(root, "/etc/passwd/x")
    with pytest.raises(BadRequest, match="no directory"):
        put(root, "/etc/passwd/x/y", [b""], ids=IDS)


# --- replacing


def test_an_existing_file_keeps_its_mode_and_owner(root: int, tree: Path) -> None:
    path = tree / "etc/passwd"
    os.chown(path, IDS.uid(101), IDS.gid(102))
    path.chmod(0o4751)
    put(root, "/etc/passwd", [b"new"], ids=IDS)
    assert shown(path) == ("-rwsr-x--x", 101, 102)
    assert path.read_bytes() == b"new"


def test_mode_and_owner_can_be_told(root: int, tree: Path) -> None:
    put(root, "/etc/passwd", [b"new"], ids=IDS, mode=0o600, uid=5, gid=6)
    assert shown(tree / "etc/passwd") == ("-rw-------", 5, 6)
    put(root, "/etc/passwd", [b"new"], ids=IDS, uid=0)
    assert shown(tree / "etc/passwd") == ("-rw-------", 0, 6)


def test_an_owner_the_container_does_not_have_is_refused(root: int, tree: Path) -> None:
    with pytest.raises(BadRequest, match="user id 65536"):
        put(root, "/etc/passwd", [b"new"], ids=IDS, uid=65_536)
    assert (tree / "etc/passwd").read_text() == "inside"


def test_the_umask_means_nothing(root: int, tree: Path) -> None:
    previous = os.umask(0o077)
    try:
        put(root, "/a/b", [b""], ids=IDS, mode=0o666)
    finally:
        os.umask(previous)
    assert shown(tree / "a/b")[0] == "-rw-rw-rw-"
    assert shown(tree / "a")[0] == "drwxr-xr-x"


def test_who_reads_the_old_file_goes_on_reading_it(root: int, tree: Path) -> None:
    with (tree / "etc/passwd").open() as old:
        put(root, "/etc/passwd", [b"new"], ids=IDS)
        assert old.read() == "inside"


@pytest.mark.parametrize("error", [Unavailable("gone"), ConnectionResetError(errno.ECONNRESET, "reset")])
def test_a_file_that_does_not_arrive_as_a_whole_changes_nothing(root: int, tree: Path, error: Exception) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"half"
        raise error

    for path in ("/etc/passwd", "/etc/new"):
        with pytest.raises(type(error)) as caught:
            put(root, path, breaking(), ids=IDS)
        assert caught.value is error
    assert (tree / "etc/passwd").read_text() == "inside"
    assert os.listdir(tree / "etc") == ["passwd"]


# --- links


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("/etc/link", "passwd"),
        ("/etc/link", "/etc/passwd"),
        ("/link", "../../../../etc/passwd"),
        ("/link", "etc/../etc/passwd"),
    ],
)
def test_a_link_means_the_file_it_leads_to_inside(root: int, tree: Path, link: str, target: str) -> None:
    (tree / link[1:]).symlink_to(target)
    assert fetched(root, link) == b"inside"
    put(root, link, [b"new"], ids=IDS)
    assert (tree / "etc/passwd").read_bytes() == b"new"
    assert (tree / link[1:]).is_symlink()


def test_a_linked_directory_is_followed(root: int, tree: Path) -> None:
    (tree / "var").mkdir()
    (tree / "run").mkdir()
    (tree / "var/run").symlink_to("/run")
    (tree / "run/current").symlink_to("../etc")
    put(root, "/var/run/new/file", [b"x"], ids=IDS)
    put(root, "/var/run/current/passwd", [b"new"], ids=IDS)
    assert (tree / "run/new/file").read_bytes() == b"x"
    assert (tree / "etc/passwd").read_bytes() == b"new"


def test_a_link_to_a_file_not_made_yet_makes_it(root: int, tree: Path) -> None:
    (tree / "link").symlink_to("etc/new")
    put(root, "/link", [b"new"], ids=IDS)
    assert (tree / "etc/new").read_bytes() == b"new"


@pytest.mark.parametrize("target", ["../run/systemd/resolve/stub", "/run/systemd/resolve/stub"])
def test_directories_missing_on_a_links_way_are_made(root: int, tree: Path, target: str) -> None:
    (tree / "etc/resolv.conf").symlink_to(target)
    put(root, "/etc/resolv.conf", [b"nameserver"], ids=IDS)
    assert (tree / "run/systemd/resolve/stub").read_bytes() == b"nameserver"
    assert shown(tree / "run/systemd") == ("drwxr-xr-x", 0, 0)


def test_a_directory_that_is_a_link_to_nowhere_is_not_found(root: int, tree: Path) -> None:
    (tree / "link").symlink_to("missing")
    with pytest.raises(NotFound, match="'/link/file'"):
        put(root, "/link/file", [b"new"], ids=IDS)
    assert sorted(os.listdir(tree)) == ["etc", "link"]


@pytest.mark.parametrize("target", ["..", "../..", "etc", "/"])
def test_a_link_to_a_directory_is_no_file(root: int, tree: Path, target: str) -> None:
    (tree / "link").symlink_to(target)
    with pytest.raises(BadRequest):
        fetch(root, "/link")
    with pytest.raises(BadRequest):
        put(root, "/link", [b"new"], ids=IDS)


def test_links_in_a_circle_are_refused(root: int, tree: Path) -> None:
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    for path in ("/a", "/a/file"):
        with pytest.raises(TfError, match=r"circle|no directory"):
            fetch(root, path)
        with pytest.raises(TfError, match=r"circle|no directory"):
            put(root, path, [b""], ids=IDS)


@pytest.mark.parametrize("target", ["../secret", "/../secret", "../../../../../../../secret"])
def test_links_out_lead_nowhere_out(root: int, tree: Path, target: str) -> None:
    (tree / "link").symlink_to(target)
    with pytest.raises(NotFound):
        fetch(root, "/link")
    put(root, "/link", [b"harmless"], ids=IDS)  # a file of the container's own
    assert (tree / "secret").read_bytes() == b"harmless"


def test_links_to_the_hosts_files_mean_the_containers(root: int, tree: Path) -> None:
    host = Path(__file__)
    (tree / "link").symlink_to(host)
    (tree / "proc").mkdir()
    (tree / "proc/self").symlink_to("/proc/self")
    for path in ("/link", f"/proc/self/root{host}"):
        with pytest.raises((NotFound, BadRequest)):
            fetch(root, path)


# --- what is no file


def test_fifos_sockets_and_devices_are_refused_without_waiting(root: int, tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "tty", stat.S_IFCHR | 0o666, os.makedev(5, 0))
    os.mknod(tree / "disk", stat.S_IFBLK | 0o666, os.makedev(254, 0))
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(tree)  # a socket's path is short
        try:
            listening.bind("socket")
        finally:
            os.chdir("/")
    for name, kind in (("fifo", "a fifo"), ("tty", "a device"), ("disk", "a device"), ("socket", "a socket")):
        with pytest.raises(BadRequest, match=f"'/{name}' is {kind}, not a file"):
            fetch(root, f"/{name}")
        with pytest.raises(BadRequest, match=f"'/{name}' is {kind}, not a file"):
            put(root, f"/{name}", [b"x"], ids=IDS)
    assert stat.S_ISFIFO((tree / "fifo").stat().st_mode)


def test_the_kernels_own_files_are_refused(tmp_path: Path, tree: Path) -> None:
    (tree / "proc").mkdir()
    (tree / "link").symlink_to("/proc/sys/kernel/core_pattern")
    with private_mounts():
        subprocess.run(["mount", "-t", "proc", "proc", tree / "proc"], check=True)
        fd = open_root(tree)
        before = Path("/proc/sys/kernel/core_pattern").read_bytes()
        for path in ("/proc/sys/kernel/core_pattern", "/link", "/proc/kmsg", "/proc/self/environ"):
            with pytest.raises(TfError, match=r"kernel's own files \(proc\)|not in the container"):
                fetch(fd, path)
            with pytest.raises((WrongState, NotFound)):
                put(fd, path, [b"|/evil"], ids=IDS)
        os.close(fd)
        assert Path("/proc/sys/kernel/core_pattern").read_bytes() == before


# --- mounts and disks


def test_mounted_volumes_are_reached(tree: Path) -> None:
    (tree / "data").mkdir()
    with private_mounts():
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "volume", tree / "data"], check=True)
        fd = open_root(tree)
        put(fd, "/data/deep/file", [b"on the volume"], ids=IDS)
        assert (tree / "data/deep/file").read_bytes() == b"on the volume"
        with pytest.raises(Exhausted, match="'/data/big' does not fit: no space left"):
            put(fd, "/data/big", [bytes(1 << 20)], ids=IDS)
        assert sorted(os.listdir(tree / "data")) == ["deep"]
        subprocess.run(["mount", "-o", "remount,ro", tree / "data"], check=True)
        with pytest.raises(WrongState, match="read-only"):
            put(fd, "/data/deep/file", [b"x"], ids=IDS)
        os.close(fd)
    assert os.listdir(tree / "data") == []


def test_a_file_mounted_on_its_own_is_overwritten_in_place(tree: Path) -> None:
    (tree / "source").write_text("mounted, and longer than what comes")
    with private_mounts():
        subprocess.run(["mount", "--bind", tree / "source", tree / "etc/passwd"], check=True)
        fd = open_root(tree)
        put(fd, "/etc/passwd", [b"new"], ids=IDS)
        assert (tree / "etc/passwd").read_bytes() == b"new"
        os.close(fd)
    assert (tree / "source").read_text() == "new"
    assert (tree / "etc/passwd").read_text() == "inside"


# --- while it is read


def test_what_is_appended_meanwhile_is_left_out(root: int, tree: Path) -> None:
    (tree / "log").write_bytes(bytes(PIECE + 1))
    size, pieces = fetch(root, "/log")
    assert len(next(pieces)) == PIECE
    with (tree / "log").open("ab") as log:
        log.write(b"more")
    assert (size, len(b"".join(pieces))) == (PIECE + 1, 1)


def test_a_file_cut_short_meanwhile_is_an_error(root: int, tree: Path) -> None:
    (tree / "log").write_bytes(bytes(PIECE * 2))
    _, pieces = fetch(root, "/log")
    next(pieces)
    os.truncate(tree / "log", 0)
    with pytest.raises(WrongState, match="'/log' was cut short"):
        next(pieces)


def test_a_file_replaced_meanwhile_is_read_to_its_end(root: int, tree: Path) -> None:
    (tree / "log").write_bytes(b"a" * PIECE * 2)
    _, pieces = fetch(root, "/log")
    next(pieces)
    put(root, "/log", [b"new"], ids=IDS)
    assert b"".join(pieces) == b"a" * PIECE


def test_reading_may_be_given_up(root: int, tree: Path) -> None:
    (tree / "log").write_bytes(bytes(PIECE * 2))
    _, pieces = fetch(root, "/log")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]


# --- a hostile container

SWAPPER = """
import ctypes, os, sys
os.chdir(sys.argv[1])
os.mkdir("real")
open("real/file", "w").write("inside")
os.symlink("../outside", "link")
open("plain", "w").write("inside")
os.symlink("../outside/file", "pointer")
libc = ctypes.CDLL(None)
print("ready", flush=True)
while True:
    libc.renameat2(-100, b"real", -100, b"link", 2)  # RENAME_EXCHANGE
    libc.renameat2(-100, b"plain", -100, b"pointer", 2)
"""


def test_files_swapped_for_links_out_never_lead_out(tmp_path: Path) -> None:
    """The container exchanges directories and files for links to the outside as fast as it can."""
    inside, outside = tmp_path / "root", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "file").write_text("outside")
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, inside], stdout=subprocess.PIPE)
    fd = open_root(inside)
    try:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        outcomes = {
            _attempt(fd, path) for _ in range(300) for path in ("/real/file", "/link/file", "/plain", "/pointer")
        }
    finally:
        os.close(fd)
        swapper.kill()
        swapper.communicate()
    assert outcomes & {b"inside", b"written"}, "nothing was ever reached, so nothing was tried"
    assert b"outside" not in outcomes
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "outside"


def _attempt(root: int, path: str) -> bytes:
    try:
        put(root, path, [b"written"], ids=IDS)
        return fetched(root, path)
    except TfError as error:
        return error.code.encode()
