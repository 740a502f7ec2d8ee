"""Accounts in files, and a location's key from the DNS: with real files and real datagrams."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.dns_server import DnsServer, Texts
from tfcore.errors import BadRequest, NotFound, Refused, Unavailable
from tfcore.keys import KeyPair, generate, text_of
from tfnz import accounts
from tfnz.location import Location

NAME = "tiny.20ft.test"
SERVER = generate().public

StartDns = Callable[[dict[str, Texts | None]], DnsServer]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the accounts are; made by who needs it."""
    path = tmp_path / "home" / ".20ft"
    monkeypatch.setenv("TF_HOME", str(path))
    return path


@pytest.fixture
def keys(home: Path) -> KeyPair:
    """Those of the one account there is."""
    pair = generate()
    accounts.store(NAME, keys=pair, address="203.0.113.5:7777", server_key=SERVER)
    return pair


@pytest.fixture
def start_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartDns]:
    """A server that is asked instead of the system's."""
    started: list[DnsServer] = []

    def start(records: dict[str, Texts | None]) -> DnsServer:
        started.append(DnsServer(records).__enter__())
        monkeypatch.setenv("TF_DNS", started[-1].address)
        return started[-1]

    yield start
    for server in started:
        server.__exit__(None, None, None)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# files


def test_an_account_is_found_as_it_was_stored(keys: KeyPair) -> None:
    found = accounts.find(NAME)
    assert found == accounts.Account(NAME, endpoint="tcp://203.0.113.5:7777", server_key=SERVER, keys=keys)


def test_the_files_are_those_of_the_seeds(home: Path, keys: KeyPair) -> None:
    """Seed 000, Account: `~/.20ft/<location>`, `<location>.pub` and `default_location`."""
    assert {path.name for path in home.iterdir()} == {NAME, f"{NAME}.pub", f"{NAME}.server", "default_location"}
    assert (home / NAME).read_text() == text_of(keys.secret) + "\n"
    assert (home / f"{NAME}.pub").read_text() == text_of(keys.public) + "\n"
    assert json.loads((home / f"{NAME}.server").read_text()) == {"address": "203.0.113.5:7777", "key": text_of(SERVER)}
    assert (mode(home), mode(home / NAME)) == (0o700, 0o600)


def test_without_tf_home_it_is_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TF_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert accounts.directory() == tmp_path / ".20ft"


def test_the_first_account_is_the_default(home: Path, keys: KeyPair) -> None:
    assert accounts.default_location() == NAME
    accounts.store("other.test", keys=generate(), address="other.test", server_key=SERVER)
    assert accounts.default_location() == NAME
    accounts.set_default("other.test")
    assert accounts.default_location() == "other.test"
    assert accounts.known() == ["other.test", NAME]
    assert accounts.resolve(None).location == "other.test"


def test_where_nothing_is_there_is_nothing(home: Path) -> None:
    assert accounts.known() == []
    assert accounts.default_location() is None
    with pytest.raises(NotFound, match=r'no location was named.*Location\("local"\)'):
        accounts.resolve(None)
    with pytest.raises(NotFound, match=r"no account for location 'tiny.*there is: none.*tf account accept"):
        accounts.find(NAME)
    assert not home.exists(), "looking makes nothing"


def test_an_unknown_location_is_told_what_there_is(keys: KeyPair) -> None:
    with pytest.raises(NotFound, match=f"no account for location 'other.test'.*there is: {NAME}"):
        Location("other.test")


def test_half_an_account_is_none(home: Path, keys: KeyPair) -> None:
    (home / "other.test.pub").write_text(text_of(SERVER))
    assert accounts.known() == [NAME]


def test_another_address_than_the_stored_one(keys: KeyPair) -> None:
    assert accounts.find(NAME, address="127.0.0.1").endpoint == "tcp://127.0.0.1:5555"
    assert accounts.resolve(NAME, address="127.0.0.1:80").endpoint == "tcp://127.0.0.1:80"


@pytest.mark.parametrize("loose", [0o604, 0o640, 0o602, 0o644, 0o666])
def test_a_key_that_others_can_read_is_refused(home: Path, keys: KeyPair, loose: int) -> None:
    (home / NAME).chmod(loose)
    with pytest.raises(Refused, match=f"chmod 600 {home / NAME}"):
        accounts.find(NAME)
    (home / NAME).chmod(0o600)
    assert accounts.find(NAME).keys == keys


@pytest.mark.parametrize("loose", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_is_refused(home: Path, keys: KeyPair, loose: int) -> None:
    home.chmod(loose)
    with pytest.raises(Refused, match=f"chmod 700 {home}"):
        accounts.find(NAME)


@pytest.mark.parametrize("damaged", ["", "not base64!", text_of(b"short"), text_of(bytes(33))])
def test_a_damaged_key(home: Path, keys: KeyPair, damaged: str) -> None:
    (home / NAME).write_text(damaged)
    with pytest.raises(BadRequest, match=f"the key in {home / NAME}"):
        accounts.find(NAME)


@pytest.mark.parametrize(
    "damaged", ["", "{", '{"address": "x"}', '{"address": 5, "key": ""}', '{"address": "x", "key": "?"}']
)
def test_a_damaged_pin(home: Path, keys: KeyPair, damaged: str) -> None:
    (home / f"{NAME}.server").write_text(damaged)
    with pytest.raises(BadRequest, match=rf"{NAME}"):
        accounts.find(NAME)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", ".hidden", "-x", "x-", "a b", "default_location", "x" * 254]
)
def test_what_cannot_be_the_name_of_a_location(home: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="cannot be the name"):
        accounts.find(name)
    with pytest.raises(BadRequest, match="cannot be the name"):
        accounts.store(name, keys=generate(), address="x", server_key=SERVER)
    with pytest.raises(BadRequest, match="cannot be the name"):
        accounts.set_default(name)
    assert accounts.known() == []


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("tiny.20ft.test", "tcp://tiny.20ft.test:5555"),
        ("tiny.20ft.test:80", "tcp://tiny.20ft.test:80"),
        ("203.0.113.5", "tcp://203.0.113.5:5555"),
        ("203.0.113.5:80", "tcp://203.0.113.5:80"),
        ("[2001:db8::1]:80", "tcp://[2001:db8::1]:80"),
        ("[2001:db8::1]", "tcp://[2001:db8::1]:5555"),
        ("2001:db8::1", "tcp://[2001:db8::1]:5555"),
        ("tcp://host:1", "tcp://host:1"),
        ("ipc:///run/x", "ipc:///run/x"),
    ],
)
def test_addresses(address: str, endpoint: str) -> None:
    assert accounts.endpoint_of(address) == endpoint


@pytest.mark.parametrize("address", ["", ":80", "host:", "host:x", "host:0", "host:65536", "host:-1", "[::1]:x"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(BadRequest, match=r"is not host\[:port\]"):
        accounts.endpoint_of(address)


# the DNS


def test_a_key_that_is_not_pinned_comes_from_the_dns_once(home: Path, keys: KeyPair, start_dns: StartDns) -> None:
    published = generate().public
    server = start_dns({NAME: [[f"20ft-key={text_of(published)}"]]})
    (home / f"{NAME}.server").unlink()
    found = accounts.find(NAME)
    assert (found.server_key, found.endpoint) == (published, f"tcp://{NAME}:5555")
    server.records.clear()
    assert accounts.find(NAME) == found
    assert server.asked == [NAME], "it is pinned from then on"


def test_a_pinned_key_is_not_asked_for(keys: KeyPair, start_dns: StartDns) -> None:
    server = start_dns({NAME: [[f"20ft-key={text_of(generate().public)}"]]})
    assert accounts.find(NAME).server_key == SERVER
    assert server.asked == []


def test_among_several_records_ours_is_found(start_dns: StartDns) -> None:
    start_dns({NAME: [["v=spf1 -all"], [f"20ft-key={text_of(SERVER)}"], ["20ft=no"]]})
    assert accounts.key_from_dns(NAME) == SERVER


def test_a_record_of_several_strings_is_one_text(start_dns: StartDns) -> None:
    """RFC 7208, 3.3: they are put together without spaces."""
    text = f"20ft-key={text_of(SERVER)}"
    start_dns({NAME: [[text[:20], text[20:]]]})
    assert accounts.key_from_dns(NAME) == SERVER


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ({}, "neither pinned nor in the DNS.*tf account accept"),
        ({NAME: []}, "neither pinned nor in the DNS.*TXT record"),
        ({NAME: [["v=spf1 -all"]]}, "none of them starts with 20ft-key="),
    ],
    ids=["no such name", "no TXT record", "others only"],
)
def test_no_key_in_the_dns(
    home: Path, keys: KeyPair, start_dns: StartDns, records: dict[str, Texts | None], words: str
) -> None:
    (home / f"{NAME}.server").unlink()
    start_dns(records)
    with pytest.raises(Unavailable, match=words):
        accounts.find(NAME)
    assert not (home / f"{NAME}.server").exists(), "nothing is pinned"


@pytest.mark.parametrize("published", ["", "?", text_of(b"short")])
def test_a_bad_key_in_the_dns(start_dns: StartDns, published: str) -> None:
    start_dns({NAME: [[f"20ft-key={published}"]]})
    with pytest.raises(BadRequest, match=f"the key in the TXT record of {NAME}"):
        accounts.key_from_dns(NAME)


def test_a_dns_server_that_never_answers(start_dns: StartDns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "DNS_TIMEOUT", 0.2)
    server = start_dns({NAME: None})
    with pytest.raises(Unavailable, match="neither pinned nor in the DNS") as caught:
        accounts.key_from_dns(NAME)
    assert caught.value.retryable
    assert server.asked[0] == NAME


@pytest.mark.parametrize("wrong", ["127.0.0.1:x", "127.0.0.1:0", "ns.example.org", ":53"])
def test_what_cannot_be_a_dns_server(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("TF_DNS", wrong)
    with pytest.raises(BadRequest, match="TF_DNS"):
        accounts.key_from_dns(NAME)


def test_an_account_is_for_its_user_alone_whatever_the_umask(home: Path) -> None:
    before = os.umask(0)
    try:
        accounts.store(NAME, keys=generate(), address="x", server_key=SERVER)
    finally:
        os.umask(before)
    assert accounts.find(NAME).server_key == SERVER
    assert mode(home / NAME) == 0o600
