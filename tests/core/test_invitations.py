"""Invitations as text: whole, for the right role, in time; and tags."""

from __future__ import annotations

import time

import pytest

from tfcore import keys
from tfcore.errors import BadRequest, BadTag
from tfcore.ids import new_id
from tfcore.invitations import Invitation, parse, text_of
from tfcore.tags import check_tag


def an_invitation(**fields: object) -> Invitation:
    pair = keys.generate()
    given = {
        "location": "lab.example.org", "address": "tcp://lab.example.org:5555", "server_key": pair.public,
        "secret": pair.secret, "role": "client", "name": "alice", "expires": time.time() + 100, **fields,
    }  # fmt: skip
    return Invitation(**given)  # type: ignore[arg-type]


def test_an_invitation_survives_as_one_word() -> None:
    invitation = an_invitation()
    text = text_of(invitation)
    assert text.isascii()
    assert not set(text) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert parse(text, role="client") == invitation
    assert invitation.keys.public == keys.KeyPair(invitation.server_key, b"").public, "made from one pair here"


def test_a_mail_programs_line_breaks_do_not_matter() -> None:
    invitation = an_invitation()
    text = text_of(invitation)
    broken = f"  {text[:70]}\r\n{text[70:140]}\n\t{text[140:]} \n"
    assert parse(broken, role="client") == invitation


def test_what_is_not_whole_says_so() -> None:
    text = text_of(an_invitation())
    for damaged in ("", "tf1", text[:-1], text[:-9], text[20:], text.replace("tf1", "tf1!"), "hello", "ü" * 40):
        with pytest.raises(BadRequest, match="whole"):
            parse(damaged, role="client")


def test_the_other_role_is_told_its_command() -> None:
    with pytest.raises(BadRequest, match="tf account accept"):
        parse(text_of(an_invitation()), role="node")
    with pytest.raises(BadRequest, match="tf-node enrol"):
        parse(text_of(an_invitation(role="node")), role="client")


def test_an_old_one_is_told_when_it_expired() -> None:
    with pytest.raises(BadRequest, match=r"expired on \d{4}-"):
        parse(text_of(an_invitation(expires=time.time() - 1)), role="client")


def test_its_secret_shows_nowhere() -> None:
    invitation = an_invitation()
    assert keys.text_of(invitation.secret) not in repr(invitation)
    assert repr(invitation.secret) not in repr(invitation)


@pytest.mark.parametrize("tag", ["", "a", "0", "pgdata", "a-b_c.d", "x" * 64, "...", "deadbeef"])
def test_tags_that_are_fine(tag: str) -> None:
    assert check_tag(tag) == tag


@pytest.mark.parametrize(
    "tag",
    [
        *("A", "a b", "a\n", "ü", "a/b", "a:b", "x" * 65, "01234567-89ab-cdef-0123-456789abcdef"),
        pytest.param(new_id("c"), id="a container"),
        pytest.param(new_id("v"), id="a volume"),
    ],
)
def test_tags_that_are_not(tag: str) -> None:
    with pytest.raises(BadTag):
        check_tag(tag)
