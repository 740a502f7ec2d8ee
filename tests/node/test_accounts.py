"""Who `User` means, by the container's own account files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfcore.errors import BadImage, BadRequest
from tfnode.runtime.accounts import Account, AccountFiles, find_account, read_account_files

FILES = AccountFiles(
    passwd="""\
# a comment: it does not count
root:x:0:0:root:/root:/bin/sh
web:x:101:102:server:/srv/web:/bin/sh
1000:x:55:55::/named-like-a-number:
short:x:7:8
broken:x:notanumber:8::/:
web:x:999:999:second of that name:/:/bin/sh
""",
    group="""\
root:x:0:
web:x:102:
extra:x:500: web , root
more:x:501:other,web
own:x:102:web
broken
""",
)


@pytest.mark.parametrize(
    ("user", "account"),
    [
        ("", Account(0, 0, (500,), "/root", "/bin/sh")),
        ("root", Account(0, 0, (500,), "/root", "/bin/sh")),
        ("web", Account(101, 102, (500, 501), "/srv/web", "/bin/sh")),
        ("101", Account(101, 102, (500, 501), "/srv/web", "/bin/sh")),
        ("web:root", Account(101, 0, (), "/srv/web", "/bin/sh")),
        ("web:500", Account(101, 500, (), "/srv/web", "/bin/sh")),
        ("web:777", Account(101, 777, (), "/srv/web", "/bin/sh")),
        ("4711", Account(4711, 0, (), "/")),
        ("4711:4712", Account(4711, 4712, (), "/")),
        (":web", Account(0, 102, (), "/root", "/bin/sh")),
        ("1000", Account(55, 55, (), "/named-like-a-number")),
        ("short", Account(7, 8, (), "/")),
    ],
)
def test_users_are_found_as_docker_finds_them(user: str, account: Account) -> None:
    assert find_account(user, FILES) == account


@pytest.mark.parametrize("user", ["nobody", "web:nothing", "-1", "1.5", "broken", "²"])
def test_users_that_do_not_exist_are_named(user: str) -> None:
    with pytest.raises(BadRequest, match="in the container's /etc/"):
        find_account(user, FILES)


def test_without_account_files_there_is_root_and_there_are_numbers() -> None:
    assert find_account("", AccountFiles()) == Account(0, 0, (), "/")
    assert find_account("7:8", AccountFiles()) == Account(7, 8, (), "/")


def test_files_are_read_inside_the_root_whatever_the_links_say(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("outside")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/real").write_text("inside")
    (root / "etc/passwd").symlink_to("/etc/real")
    (root / "etc/group").symlink_to("../../outside")
    assert read_account_files(root) == AccountFiles("inside", "")


def test_a_fifo_or_a_flood_instead_of_an_account_file_is_the_images_fault(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/passwd")
    with pytest.raises(BadImage, match="/etc/passwd cannot be used"):
        read_account_files(tmp_path)
    (tmp_path / "etc/passwd").unlink()
    with (tmp_path / "etc/passwd").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(BadImage, match="more than"):
        read_account_files(tmp_path)


def test_bytes_that_are_no_utf8_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(b"web:x:5:6:\xff:/srv:\n")
    assert find_account("web", read_account_files(tmp_path)).uid == 5
