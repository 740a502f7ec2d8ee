"""Accepting an invitation when its answer gets lost: the same key is registered again, and nothing is left of failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tfcore.errors import Unavailable, UnknownKey
from tfcore.invitations import Invitation, text_of
from tfcore.keys import generate, load
from tfcore.wire.values import Role
from tfnode import config
from tfnode import enrolment as nodes
from tfnz import accounts
from tfnz import enrolment as clients

NAME = "tiny.20ft.test"


def invitation(role: Role) -> str:
    keys, location = generate(), generate()
    return text_of(
        Invitation(
            location=NAME,
            address="tcp://127.0.0.1:5555",
            server_key=location.public,
            secret=keys.secret,
            role=role,
            name="rack1",
            expires=time.time() + 60,
        )
    )


class Answers:
    """Registers every key it is told, and says what it is to say."""

    def __init__(self, *answers: Exception | None) -> None:
        self.registered: list[bytes] = []
        self._answers = list(answers)

    async def __call__(self, _invitation: Invitation, key: bytes) -> None:
        self.registered.append(key)
        answer = self._answers.pop(0)
        if answer is not None:
            raise answer


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TF_HOME", str(tmp_path / ".20ft"))
    return tmp_path / ".20ft"


def lost() -> Unavailable:
    return Unavailable("no answer", retryable=True)


def test_an_answer_that_was_lost_costs_no_account(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, text = Answers(lost(), None), invitation("client")
    monkeypatch.setattr(clients, "accept", answers)
    with pytest.raises(Unavailable):
        clients.enrol(text)
    assert accounts.known() == []
    assert clients.enrol(text) == NAME
    assert answers.registered[0] == answers.registered[1] == accounts.find(NAME).keys.public
    assert accounts.known() == [NAME]
    assert not list(home.glob("*.accepting*"))


def test_a_refusal_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "accept", Answers(UnknownKey("it has been used")))
    with pytest.raises(UnknownKey):
        clients.enrol(invitation("client"))
    assert list(home.iterdir()) == []


def enrol_node(text: str, path: Path) -> str:
    return nodes.enrol(text, path, root="/var/lib/x", storage="directory", outgoing="off")


def test_an_answer_that_was_lost_costs_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, text, path = Answers(lost(), None), invitation("node"), tmp_path / "etc" / "node.toml"
    monkeypatch.setattr(nodes, "accept", answers)
    with pytest.raises(Unavailable):
        enrol_node(text, path)
    assert not path.exists()
    assert enrol_node(text, path) == "rack1"
    assert answers.registered[0] == answers.registered[1] == load(path.parent / "node.key").public
    read = config.read(path)
    assert (read.config.name, read.config.storage, read.config.outgoing) == ("rack1", "directory", "off")
    assert read.keys.public == answers.registered[0]


@pytest.mark.parametrize(
    ("role", "accept"),
    [
        pytest.param("node", lambda text, _path: clients.enrol(text), id="a node's as a client"),
        pytest.param("client", enrol_node, id="a client's as a node"),
    ],
)
def test_an_invitation_for_the_other_role(
    home: Path, tmp_path: Path, role: Role, accept: Callable[[str, Path], str]
) -> None:
    with pytest.raises(ValueError, match=f"this invitation is for a {role}"):
        accept(invitation(role), tmp_path / "etc" / "node.toml")
    assert list(tmp_path.iterdir()) == []
