"""Files by the real sftp and scp, in a container that has no ssh software."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.line import private_location, said, session_at, sleeper
from tests.support.openssh import OpenSsh, make_key
from tfnz.container import Container

MEGABYTE = 1 << 20
pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture(scope="module")
def box(place: PrivateLocation, tiny: str) -> Iterator[Container]:
    with session_at(place) as session:
        yield sleeper(session, tiny)


@pytest.fixture(scope="module")
def client(place: PrivateLocation, box: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    home = tmp_path_factory.mktemp("user")
    (home / "root").mkdir()
    with place.effective():
        server = box.create_ssh_server(0, authorized_keys=[make_key(home)])
    yield OpenSsh(home / "root", server)
    box.destroy_ssh_server(server)


def test_what_sftp_does(client: OpenSsh, box: Container, tmp_path: Path) -> None:
    content = os.urandom(3 * MEGABYTE + 5)
    (tmp_path / "large").write_bytes(content)
    (tmp_path / "large").chmod(0o750)
    done = client.sftp(
        f"""
        pwd
        mkdir /srv/sftp
        cd /srv/sftp
        put -p {tmp_path}/large
        rename large moved
        symlink moved link
        ln moved hard
        chmod 604 hard
        ls -la
        get link {tmp_path}/back
        mkdir empty
        rmdir empty
        rm hard
        """
    )
    assert done.returncode == 0, done.stderr
    assert "Remote working directory: /root" in done.stdout
    assert (tmp_path / "back").read_bytes() == content
    assert box.fetch("/srv/sftp/moved") == content
    assert [(info.name, info.kind, info.target) for info in box.list("/srv/sftp")] == [
        ("link", "link", "moved"),
        ("moved", "file", ""),
    ]
    info = box.stat("/srv/sftp/moved")
    assert (info.mode, info.modified) == (0o604, int((tmp_path / "large").stat().st_mtime))
    listed = [line.split() for line in done.stdout.splitlines() if line.endswith((" moved", " link", " hard"))]
    assert ["-rw----r--", "2", "0", "0"] in [words[:4] for words in listed]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("get /no/such /dev/null", "not found"),
        ("rm /etc", "Failure"),
        ("mkdir /etc", "Failure"),
        ("rename /etc/passwd /bin", "Failure"),
        ("rmdir /bin", "Failure"),
        ("chmod 600 /proc/sys/kernel/hostname", "Failure"),
        ("get /proc/self/environ /dev/null", "not found"),
        ("get /proc/1/environ /dev/null", "Failure"),
    ],
)
def test_what_cannot_be_is_refused(client: OpenSsh, command: str, words: str) -> None:
    done = client.sftp(command)
    assert done.returncode == 1
    assert words in done.stderr


def test_nothing_of_this_machine_is_reached(client: OpenSsh, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of this machine")
    for path in (tmp_path / "secret", f"/../../..{tmp_path}/secret", f"/proc/1/root{tmp_path}/secret"):
        assert client.sftp(f"get {path} {tmp_path}/got").returncode != 0
    assert not (tmp_path / "got").exists()


def test_files_belong_to_whom_one_logs_in_as(client: OpenSsh, box: Container, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("hello")
    web = OpenSsh(client.home, client.server, user="web")
    assert web.sftp(f"put {tmp_path}/page\nmkdir pages").returncode == 0
    assert said(box, "stat -c '%u %g' /srv/web/page /srv/web/pages").splitlines() == ["101 101", "101 101"]
    nobody_there = OpenSsh(client.home, client.server, user="jan")
    assert nobody_there.sftp(f"put {tmp_path}/page").returncode == 0
    assert box.stat("/root/page").uid == 0


@pytest.mark.parametrize("protocol", ["-s", "-O"], ids=["sftp", "the old one"])
def test_scp(client: OpenSsh, box: Container, tmp_path: Path, protocol: str) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_bytes(os.urandom(MEGABYTE))
    (tree / "sub/file").chmod(0o700)
    there = f"/srv/scp{protocol}"
    for words in ([str(tree), f":{there}"], [f":{there}", str(tmp_path / "back")]):
        done = client.scp(protocol, "-rp", *words)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "back/sub/file").read_bytes() == (tree / "sub/file").read_bytes()
    assert stat.S_IMODE((tmp_path / "back/sub/file").stat().st_mode) == 0o700
    assert box.stat(f"{there}/sub/file").modified == int((tree / "sub/file").stat().st_mtime)
