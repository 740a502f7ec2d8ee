"""What a writer of many small pieces costs its reader: room for the bytes, not for the pieces."""

from __future__ import annotations

import sys

from tfcore.rpc.channels import FEW, GATHERED, SMALL, Inlet


def pile_up(inlet: Inlet) -> None:
    """As many pieces as may wait one by one."""
    for at in range(FEW):
        inlet.take(at, b"x", end=False)


def test_small_pieces_are_kept_as_one() -> None:
    inlet = Inlet()
    for at in range(100_000):
        assert inlet.take(at, memoryview(bytes([at % 251])), end=False) == "taken"
    held = sum(sys.getsizeof(chunk) for chunk in inlet.chunks)
    assert held < 2 * 100_000
    read = b"".join(bytes(inlet.pop()) for _ in range(len(inlet.chunks)))
    assert read == bytes(at % 251 for at in range(100_000))


def test_what_was_read_does_not_change_any_more() -> None:
    inlet = Inlet()
    pile_up(inlet)
    for _ in range(FEW):
        inlet.pop()
    inlet.take(FEW, b"one", end=False)
    first = inlet.pop()
    inlet.take(FEW + 3, b"two", end=True)
    assert (first, inlet.pop(), inlet.ended) == (b"one", b"two", True)


def test_large_pieces_are_not_copied() -> None:
    inlet, large = Inlet(), memoryview(bytes(SMALL))
    pile_up(inlet)
    inlet.take(FEW, b"small", end=False)
    inlet.take(FEW + 5, large, end=False)
    inlet.take(FEW + 5 + SMALL, b"small", end=False)
    assert [inlet.chunks[-3], inlet.chunks[-2] is large, inlet.chunks[-1]] == [b"small", True, b"small"]
    assert SMALL < GATHERED
