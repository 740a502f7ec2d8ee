"""Failpoints: their grammar, and when they fire."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.campaign.faults import WAYS
from tfcore.errors import BadRequest, CommandFailed
from tfcore.failpoints import VARIABLE, Order, Orders, failpoint

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "order"),
    [
        ("storage.place=errno(ENOSPC)", Order("storage.place", "errno", "ENOSPC")),
        ("step.make-fresh=error(command-failed)@3*2", Order("step.make-fresh", "error", "command-failed", 3, 2)),
        ("nft.run=kill*0", Order("nft.run", "kill", "", 1, 0)),
    ],
)
def test_a_line_is_an_order_and_an_order_a_line(line: str, order: Order) -> None:
    assert Order.parse(line) == order == Order.parse(str(order))


@pytest.mark.parametrize(
    "line", ["", "a", "a=explode", "A=kill", "a=errno(ENOSUCH)", "a=delay(soon)", "a=kill@x", "a=kill;b"]
)
def test_what_is_no_order_is_refused_with_the_grammar(line: str) -> None:
    with pytest.raises(BadRequest):
        Order.parse(line)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "failpoints"


def write(file: Path, *lines: str) -> None:
    """As a whole, and as another file, as whoever arms a daemon that runs must do it."""
    aside = file.with_suffix(".new")
    aside.write_text("\n".join(lines))
    aside.rename(file)


def test_it_fires_as_often_as_told_and_says_so(file: Path) -> None:
    orders = Orders(file)
    orders.reach("a.b")
    write(file, "a.b=errno(ENOSPC)@2*2")
    orders.reach("a.b")
    for _ in range(2):
        with pytest.raises(OSError, match=r"failpoint a\.b") as raised:
            orders.reach("a.b")
        assert raised.value.errno == errno.ENOSPC
    orders.reach("a.b")
    orders.reach("other")
    assert file.with_suffix(".fired").read_text() == "a.b=errno(ENOSPC)@2*2\n" * 2


def test_a_changed_file_counts_at_once_and_a_file_that_is_gone_disarms(file: Path) -> None:
    orders = Orders(file)
    write(file, "a=error(command-failed)*0")
    with pytest.raises(CommandFailed):
        orders.reach("a")
    write(file, "b=error(command-failed)*0")
    orders.reach("a")
    file.unlink()
    orders.reach("b")


def test_a_late_step_is_late(file: Path) -> None:
    write(file, "a=delay(30)")
    before = time.monotonic()
    Orders(file).reach("a")
    assert time.monotonic() - before >= 0.03


def test_without_the_variable_nothing_is_armed() -> None:
    assert VARIABLE not in os.environ
    failpoint("a")


def test_with_the_variable_a_process_kills_itself(file: Path) -> None:
    write(file, "a=kill")
    script = "from tfcore.failpoints import failpoint; failpoint('a'); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, VARIABLE: str(file)}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


def test_the_campaign_knows_every_step_that_is_named_in_the_code() -> None:
    """Those whose name is put together (`step.…`, `runtime.…`, `answer.…`) it names itself."""
    named = set()
    for package in ("tfcore", "tfnz", "node", "location"):
        for path in (ROOT / package).rglob("*.py"):
            named |= set(re.findall(r'failpoint\("([^"]+)"\)', path.read_text())) - {"a"}
    assert named <= set(WAYS)
