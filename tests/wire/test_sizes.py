"""What a message may cost its reader: whoever sends it chooses how many values it has, not how long a daemon stands."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from tests.wire.vocabulary import requests, sample
from tfcore.errors import BadRequest
from tfcore.wire import containers as c
from tfcore.wire import images as i
from tfcore.wire.header import MAX_BODY
from tfcore.wire.message import STRUCTURED, decode, encode, op_of

NODE = "n-" + "0" * 22


def array_of(piece: bytes, size: int = MAX_BODY) -> bytes:
    """A MessagePack array of so many bytes."""
    count = size // len(piece)
    return b"\xdd" + count.to_bytes(4, "big") + piece * count


def wish_with(field: str, value: bytes) -> bytes:
    """The body of a spawn in which one field is given as it stands."""
    before = msgspec.msgpack.encode({"op": op_of(c.SpawnContainer), "node": NODE})[1:]
    wish = b"\x82" + msgspec.msgpack.encode("image") + b"\xa1x" + msgspec.msgpack.encode(field) + value
    return b"\x83" + before + msgspec.msgpack.encode("wish") + wish


def refused(body: bytes, cls: type = c.SpawnContainer) -> None:
    with pytest.raises(BadRequest, match=r"too large|length"):
        decode(body, cls)


@pytest.mark.parametrize(
    ("field", "piece"),
    [("env", b"\x92\xa0\xa0"), ("command", b"\xa0"), ("mounts", b"\x80"), ("pre_boot_files", b"\x92\xa1/\xc4\0")],
)
def test_a_body_of_many_small_values_is_refused_before_they_are_made(field: str, piece: bytes) -> None:
    refused(wish_with(field, array_of(piece)))


def test_probes_within_probes_are_values_like_others() -> None:
    probe = b"\x82\xa4kind\xa3all\xa5parts" + array_of(b"\x81\xa4kind\xa3all")
    refused(wish_with("ready", probe))


def test_a_large_file_before_the_boot_is_no_large_structure() -> None:
    content = bytes(MAX_BODY - 10_000)
    wish = c.ContainerWish(image="x", pre_boot_files=(("/large", content),))
    assert decode(encode(c.SpawnContainer(node=NODE, wish=wish)), c.SpawnContainer).wish.pre_boot_files[0][1] == content


def test_a_large_config_is_no_large_structure() -> None:
    offer = i.OfferImage(name="x", config=bytes(2 * STRUCTURED), diff_ids=())
    assert decode(encode(offer), i.OfferImage) == offer


@pytest.mark.parametrize("cls", requests(), ids=op_of)
def test_no_request_is_larger_than_what_it_carries(cls: type) -> None:
    """Whatever is in it that its reader does not even know."""
    known = msgspec.msgpack.decode(encode(sample(cls)))
    body = msgspec.msgpack.encode({**known, "of_tomorrow": "x" * (STRUCTURED + 1)})
    refused(body, cls)


def test_the_largest_structure_takes_little_memory() -> None:
    """In a process of its own: a MiB of the smallest values there are."""
    script = (
        "import resource, sys, tests.wire.test_sizes as t\n"
        "from tfcore.wire.message import decode, STRUCTURED\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "decode(t.wish_with('env', t.array_of(b'\\x92\\xa0\\xa0', STRUCTURED - 1000)), t.c.SpawnContainer)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    here = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=here, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024, "kilobytes"
