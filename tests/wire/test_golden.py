"""What has once been sent can be read for ever: one encoded sample of each message, decoded by today's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.wire.vocabulary import GOLDEN, encoded_samples, messages, sample
from tfcore.wire.header import decode_header, encode_header
from tfcore.wire.message import decode, encode, op_of

CLASSES = {op_of(cls): cls for cls in messages()}
WRITE = "run: python -m tests.wire.vocabulary"


def raw(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.msgpack.decode(body)
    return found


def is_in(old: Any, new: Any) -> bool:
    """Everything `old` says, `new` says as well."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and is_in(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(is_in, old, new))
    return bool(old == new)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.msgpack")), ids=lambda path: path.stem)
def test_todays_code_reads_it_and_loses_nothing(path: Path) -> None:
    body = path.read_bytes()
    again = (
        encode_header(decode_header(body))
        if path.stem.partition("@")[0] == "header"
        else encode(decode(body, CLASSES[path.stem.partition("@")[0]]))
    )
    assert is_in(raw(body), raw(again)), "a field was removed, renamed or re-typed: that needs a new tag"


def test_every_message_has_a_sample() -> None:
    missing = {name for name in encoded_samples() if not (GOLDEN / f"{name}.msgpack").exists()}
    assert not missing, WRITE


def test_every_field_is_in_some_sample() -> None:
    """A new field needs a new sample beside the old one; otherwise nobody notices when it is lost."""
    for name, body in encoded_samples().items():
        known: set[str] = set()
        for path in GOLDEN.glob(f"{name}*.msgpack"):
            if path.stem == name or path.stem.startswith(f"{name}@"):
                known |= set(raw(path.read_bytes()))
        assert set(raw(body)) <= known, f"{name}: {set(raw(body)) - known}; add golden/{name}@2.msgpack"


@pytest.mark.parametrize("cls", messages(), ids=op_of)
def test_a_message_survives_the_wire(cls: Any) -> None:
    full = sample(cls)
    assert decode(encode(full), cls) == full
    assert raw(encode(full))["op"] == op_of(cls)


@pytest.mark.parametrize("cls", messages(), ids=op_of)
def test_fields_of_a_newer_peer_are_skipped(cls: Any) -> None:
    newer = msgspec.msgpack.encode({**raw(encode(sample(cls))), "a_field_of_tomorrow": 1})
    assert decode(newer, cls) == sample(cls)
