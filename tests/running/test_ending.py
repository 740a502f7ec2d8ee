"""Signals that end a command, sent for real."""

from __future__ import annotations

import os
import signal

import pytest

from tfnz.ending import Ended, ending


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_raises_and_later_ones_spare_the_clearing_away(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    cleared = []

    def interrupted() -> None:
        with ending():
            try:
                os.kill(os.getpid(), number)
                signal.pause()
            finally:
                for another in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    os.kill(os.getpid(), another)
                cleared.append(True)

    with pytest.raises(Ended) as ended:
        interrupted()
    assert cleared
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) is before


def test_the_clearing_away_after_an_ordinary_end_is_spared_too() -> None:
    with ending() as signals:
        signals.ignore()
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
