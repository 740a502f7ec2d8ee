"""`tf locations` and account backups: files of this machine, no location is asked."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tfcore.errors import BadRequest, Refused, WrongState
from tfcore.keys import generate
from tfnz import account_backup, accounts, cli

PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's accounts but the test's."""
    path = tmp_path / ".20ft"
    monkeypatch.setenv("TF_HOME", str(path))
    return path


@pytest.fixture
def two() -> list[str]:
    for name in ("one.test", "two.test"):
        accounts.store(name, keys=generate(), address=f"tcp://{name}:5555", server_key=generate().public)
    return ["one.test", "two.test"]


def files(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.iterdir() if path.name != "default_location"}


# --- where one can go


def test_locations_are_listed_with_the_private_one(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["locations", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["LOCATION", "ADDRESS", "DEFAULT"],
        ["one.test", "tcp://one.test:5555", "default"],
        ["two.test", "tcp://two.test:5555", "-"],
        ["local", "-", "-"],
    ]
    assert cli.main(["locations", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[2] == {"name": "local", "address": None, "default": False}


def test_one_is_selected_by_as_much_of_its_name_as_is_its_own(
    two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    accounts.store("on", keys=generate(), address="on", server_key=generate().public)
    for prefix, chosen in (("t", "two.test"), ("on", "on"), ("one", "one.test"), ("local", "local")):
        assert cli.main(["locations", "select", prefix]) == 0
        assert accounts.default_location() == chosen
    capsys.readouterr()
    for prefix in ("o", "three"):
        assert cli.main(["locations", "select", prefix]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "tf: 'o' is the beginning of several of your locations: on, one.test"
    assert said[1] == "tf: 'three' is the beginning of none of your locations: on, one.test, two.test, local"
    assert accounts.default_location() == "local"


# --- backups


def test_what_was_backed_up_is_restored(two: list[str], home: Path) -> None:
    before = files(home)
    sealed = account_backup.seal(two, PASSPHRASE)
    assert not any(content.strip() in sealed for content in before.values())
    for path in home.iterdir():
        path.unlink()
    assert account_backup.restore(account_backup.unseal(sealed, PASSPHRASE)) == two
    assert files(home) == before
    assert stat.S_IMODE((home / "one.test").stat().st_mode) == 0o600
    assert accounts.find("two.test").endpoint == "tcp://two.test:5555"
    assert accounts.default_location() == "one.test"


def test_restoring_what_is_there_changes_nothing(two: list[str], home: Path) -> None:
    before = files(home)
    account_backup.restore(account_backup.unseal(account_backup.seal(two, PASSPHRASE), PASSPHRASE))
    assert files(home) == before


def test_another_account_is_not_overwritten(two: list[str], home: Path) -> None:
    sealed = account_backup.seal(two, PASSPHRASE)
    for path in home.iterdir():
        path.unlink()
    accounts.store("two.test", keys=generate(), address="elsewhere", server_key=generate().public)
    before = files(home)
    with pytest.raises(WrongState, match=r"another account for two\.test"):
        account_backup.restore(account_backup.unseal(sealed, PASSPHRASE))
    assert files(home) == before, "not even the other one was written"


def test_neither_another_passphrase_nor_a_changed_byte_opens_it(two: list[str]) -> None:
    sealed = account_backup.seal(["one.test"], PASSPHRASE)
    with pytest.raises(Refused, match="not the passphrase"):
        account_backup.unseal(sealed, PASSPHRASE + "!")
    for at in (len(account_backup.MARK) + 3, len(sealed) - 1):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(Refused):
            account_backup.unseal(changed, PASSPHRASE)
    with pytest.raises(BadRequest):
        account_backup.unseal(b"something else", PASSPHRASE)
    with pytest.raises(Refused):
        account_backup.unseal(account_backup.MARK + b"cut", PASSPHRASE)


def test_a_backup_names_no_files_but_accounts(home: Path) -> None:
    key = generate()
    for name in ("../evil", "/etc/passwd", "default_location", ".hidden"):
        with pytest.raises(BadRequest):
            account_backup.restore({name: key.secret, f"{name}.pub": b""})
    assert not home.exists()


def test_the_commands(two: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(home)
    secret, backup = tmp_path / "secret", tmp_path / "backup"
    secret.write_text(f"{PASSPHRASE}\n")
    words = ["account", "backup", str(backup), "--passphrase-file", str(secret)]
    assert cli.main(words) == 0
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert cli.main(words) == 1
    assert f"{backup} is there already" in capsys.readouterr().err
    assert cli.main([*words, "--force", "--location", "two.test"]) == 0
    for path in home.iterdir():
        path.unlink()
    assert cli.main(["account", "restore", str(backup), "--passphrase-file", str(secret)]) == 0
    assert capsys.readouterr().out == f"you have an account at two.test; its key is {home / 'two.test'}\n"
    assert files(home) == {name: content for name, content in before.items() if name.startswith("two.test")}
    secret.write_text("short")
    assert cli.main([*words, "--force"]) == 1
    assert "is no protection" in capsys.readouterr().err


def test_without_a_terminal_there_is_nobody_to_ask(
    two: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert cli.main(["account", "backup", str(tmp_path / "backup")]) == 1
    assert "--passphrase-file" in capsys.readouterr().err
    assert not (tmp_path / "backup").exists()
