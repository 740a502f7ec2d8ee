"""The parts of the ssh server that need no client: who may come in, as whom, and by which key it is known."""

from __future__ import annotations

import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest

from tfcore.errors import BadRequest, Exhausted, NotFound, Refused, Unavailable, WrongState
from tfcore.wire.files import Changes, FileStatus
from tfnz.ssh import sftp
from tfnz.ssh.admission import admission
from tfnz.ssh.hostkey import host_key
from tfnz.ssh.logins import Login, login

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:a server:/srv/web:/usr/sbin/nologin\nbroken\nodd:x:a:b::/:\n"
GROUP = "root:x:0:\nstaff:x:50:web\n"


def key(kind: str = "ssh-ed25519") -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(kind)


def text(of: asyncssh.SSHKey) -> str:
    return of.export_public_key("openssh").decode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own ~/.ssh, empty."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path / ".ssh"


# who may come in


def test_the_user_s_own_keys_admit(home: Path) -> None:
    one, other, stranger = key(), key("ecdsa-sha2-nistp256"), key()
    (home / "id_ed25519.pub").write_text(text(one))
    (home / "id_ecdsa.pub").write_text(text(other))
    (home / "nonsense.pub").write_text("nonsense")
    (home / "id_rsa").write_text("not looked at")
    admitted = admission(None, None)
    assert [admitted.key_admits(asked) for asked in (one, other, stranger)] == [True, True, False]
    assert admitted.password == ""
    assert not admitted.password_admits("")


def test_who_has_no_key_gets_a_password(home: Path) -> None:
    first, second = admission(None, None), admission(None, None)
    assert len(first.password) >= 20
    assert first.password != second.password
    assert first.password_admits(first.password)
    for wrong in ("", "x", first.password + "x", second.password, "ü"):
        assert not first.password_admits(wrong)
    assert first.password not in repr(first)


def test_keys_are_text_or_files_of_several(tmp_path: Path) -> None:
    first, second, third = key(), key(), key()
    (tmp_path / "authorized").write_text(text(first) + text(second))
    admitted = admission([tmp_path / "authorized", text(third)], None)
    assert all(map(admitted.key_admits, (first, second, third)))
    assert admission([text(first)], True).password


def test_what_is_no_key_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "nonsense").write_text("nonsense")
    for wrong in ([tmp_path / "missing"], ["ssh-ed25519 AAAA nobody"], [tmp_path / "nonsense"], "ssh-ed25519 AAAA"):
        with pytest.raises(BadRequest):
            admission(wrong, None)
    for nobody in (None, []):
        with pytest.raises(BadRequest, match="nobody could log in"):
            admission(nobody, False)


# as whom


@pytest.mark.parametrize(
    ("asked", "default", "expected"),
    [
        ("root", "web", Login("root", "root", 0, 0, "/root")),
        ("web", "", Login("web", "web", 101, 102, "/srv/web")),
        ("jan", "", Login("", "root", 0, 0, "/root")),
        ("jan", "web", Login("", "web", 101, 102, "/srv/web")),
        ("jan", "101:staff", Login("", "web", 101, 50, "/srv/web")),
        ("jan", "4711:12", Login("", "", 4711, 12, "/")),
        ("broken", "", Login("", "root", 0, 0, "/root")),
        ("", "", Login("", "root", 0, 0, "/root")),
    ],
)
def test_which_user_one_is(asked: str, default: str, expected: Login) -> None:
    assert login(asked, passwd=PASSWD, group=GROUP, default=default) == expected


def test_an_image_without_users() -> None:
    assert login("root", passwd="", group="", default="") == Login("", "", 0, 0, "/")
    assert login("root", passwd="", group="", default="65532").env == (("HOME", "/"),)


# by which key it is known


def test_the_host_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "account" / "tiny.ssh_host_ed25519"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: host_key(path).public_data, range(8)))
    assert set(made) == {host_key(path).public_data}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    shown = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True, timeout=30)
    assert shown.stdout.split()[:2] == host_key(path).export_public_key("openssh").decode().split()[:2]


def test_a_host_key_that_others_can_read_or_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "key"
    host_key(path)
    path.chmod(0o640)
    with pytest.raises(Refused, match="chmod 600"):
        host_key(path)
    path.write_text("nonsense")
    path.chmod(0o600)
    with pytest.raises(Refused, match="remove it"):
        host_key(path)


# sftp

HARMLESS = {
    "channel", "connection", "convert_attrs", "env", "format_longname", "lock", "logger", "map_path",
    "reverse_map_path", "unlock",
}  # fmt: skip
"""What of asyncssh's server touches no file system: read, and found to be so."""


def test_nothing_of_the_base_class_is_left_that_could_touch_this_machine() -> None:
    """Its own methods work on the files of whoever runs it; a new one of a later version must not slip in."""
    inherited = {name for name in vars(asyncssh.SFTPServer) if not name.startswith("_")}
    assert inherited - set(vars(sftp.ContainerFiles)) <= HARMLESS


def test_what_a_client_is_told() -> None:
    for error, kind in (
        (NotFound("x"), asyncssh.SFTPNoSuchFile),
        (Refused("x"), asyncssh.SFTPPermissionDenied),
        (Exhausted("x"), asyncssh.SFTPNoSpaceOnFilesystem),
        (Unavailable("x"), asyncssh.SFTPConnectionLost),
        (WrongState("x"), asyncssh.SFTPFailure),
    ):
        assert type(sftp.as_sftp(error)) is kind


def test_attributes_there_and_back() -> None:
    status = FileStatus(
        kind="link", mode=0o777, uid=1, gid=2, size=3, links=1, accessed=5_000_000_006, modified=7_000_000_008
    )
    attrs = sftp.attrs_of(status)
    assert stat.S_ISLNK(attrs.permissions or 0)
    wanted = Changes(mode=0o777, uid=1, gid=2, size=3, accessed=5_000_000_006, modified=7_000_000_008)
    assert sftp.changes_of(attrs) == wanted
    assert sftp.changes_of(asyncssh.SFTPAttrs()) == Changes()
