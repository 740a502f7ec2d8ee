"""Malformed inputs made of good ones: seeded, so that a failure can be played again.

TF_FUZZ=20 pytest tests/fuzz           twenty times as many inputs (`make fuzz`)
TF_FUZZ_SEED=7 pytest tests/fuzz       others
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tfcore.errors import TfError

TIMES = int(os.environ.get("TF_FUZZ", "1"))
SEED = int(os.environ.get("TF_FUZZ_SEED", "1"))

NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1]

MSGPACK = [
    b"\xc0", b"\xc1", b"\xc2", b"\xc3", b"\x80", b"\x90", b"\xa0", b"\xff", b"\xcb\x7f\xf8" + bytes(6),
    b"\xcb\x7f\xf0" + bytes(6), b"\xd9\xff", b"\xdb\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7),
    b"\xc9\xff\xff\xff\xff\x01", b"\xd4\xff\0", b"\x91" * 200, b"\x81\xa1x" * 200,
]  # fmt: skip
"""What means something to a MessagePack decoder: every type, lengths that are not kept, numbers out of range, depth."""

TEXTS = [
    b"\0", b"\n", b"../", b"/", b"%s", b"\xff\xfe", b"\xed\xa0\x80", "ü".encode(), b"A" * 5000, b"sha256:", b"{}", b"[",
    b'"',
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Something that reads what strangers send.

    Attributes:
        name: for people.
        seeds: good inputs.
        read: reads one; may raise the errors in `refusals` and nothing else.
        share: how many inputs it gets in a short run.
    """

    name: str
    seeds: Sequence[bytes]
    read: Callable[[bytes], object]
    share: int
    refusals: tuple[type[Exception], ...] = field(default=(TfError,))

    def run(self) -> int:
        """Feed it; returns how many inputs it has refused.

        Raises:
            AssertionError: it raised what it must not; the message has the input.
        """
        chance = random.Random(f"{self.name} {SEED}")
        refused = 0
        for number in range(self.share * TIMES):
            data = mutated(chance, self.seeds)
            try:
                self.read(data)
            except self.refusals:
                refused += 1
            except Exception as error:
                raise AssertionError(
                    f"{self.name}: input {number} with TF_FUZZ_SEED={SEED} raised {type(error).__name__}: {error}\n"
                    f"bytes.fromhex({data[:4000].hex()!r})"
                ) from error
        return refused


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A good input with one to six things wrong with it."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        chance.choice(_MUTATIONS)(chance, data, seeds)
    return bytes(data)


def _at(chance: random.Random, data: bytearray) -> int:
    return chance.randrange(len(data) + 1)


def _flip(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _replace(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _cut(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    del data[_at(chance, data) :]


def _drop(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    start = _at(chance, data)
    del data[start : start + chance.randrange(1, 20)]


def _repeat(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    start = _at(chance, data)
    data[start:start] = data[start : start + chance.randrange(1, 600)] * chance.choice((1, 2, 50))


def _piece(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    start, piece = _at(chance, data), chance.choice((MSGPACK, TEXTS))
    data[start : start + chance.choice((0, 1, 4))] = chance.choice(piece)


def _number(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    start, form = _at(chance, data), chance.choice((">B", ">H", ">I", ">Q", "<I", "<Q"))
    packed = struct.pack(form, chance.choice(NUMBERS) & ((1 << 8 * struct.calcsize(form)) - 1))
    data[start : start + len(packed)] = packed


def _splice(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    data[_at(chance, data) :] = other[chance.randrange(len(other) + 1) :]


def _noise(chance: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    start = _at(chance, data)
    data[start:start] = chance.randbytes(chance.randrange(1, 40))


_MUTATIONS = (_flip, _flip, _replace, _cut, _drop, _repeat, _piece, _piece, _number, _splice, _noise)
