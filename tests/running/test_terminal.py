"""What a terminal's user types and a program shows, followed without a terminal."""

from __future__ import annotations

import pytest

from tfnz.terminal import Leaving, Modes


@pytest.mark.parametrize(
    ("typed", "sent", "left"),
    [
        ([b"ls\r"], b"ls\r", False),
        ([b"\x1d\x1d\x1d"], b"", True),
        ([b"\x1d", b"\x1d", b"\x1d"], b"", True),
        ([b"a\x1d\x1db\x1d", b"c"], b"a\x1d\x1db\x1dc", False),
        ([b"x\x1d\x1d", b"\x1dlost"], b"x", True),
        ([b"\x03\x04\x1a"], b"\x03\x04\x1a", False),
    ],
)
def test_three_in_a_row_leave_and_fewer_are_typed(typed: list[bytes], sent: bytes, left: bool) -> None:
    leaving = Leaving()
    passed = [leaving.pass_on(piece) for piece in typed]
    assert b"".join(data for data, _ in passed) == sent
    assert passed[-1][1] is left


@pytest.mark.parametrize(
    ("shown", "back"),
    [
        ([b"plain \x1b[31mred\x1b[0m"], b""),
        ([b"\x1b[?1049h\x1b[?25l"], b"\x1b[0m\x1b[?1049l\x1b[?25h"),
        ([b"\x1b[?1049h", b"text", b"\x1b[?1049l"], b""),
        ([b"\x1b[?1000;1006h\x1b[?1049h"], b"\x1b[0m\x1b[?1000l\x1b[?1006l\x1b[?1049l"),
        ([b"\x1b", b"[?10", b"49h"], b"\x1b[0m\x1b[?1049l"),
        ([b"\x1b[?2004h", b"$ "], b"\x1b[0m\x1b[?2004l"),
        ([b"\x1b[?7l\x1b[?12h"], b""),
        ([b"\x1b[?" + b"9" * 1000 + b"h"], b""),
    ],
)
def test_modes_left_on_are_switched_off_and_the_screen_last(shown: list[bytes], back: bytes) -> None:
    modes = Modes()
    for piece in shown:
        modes.see(piece)
    assert modes.back() == back
