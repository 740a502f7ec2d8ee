"""Nothing can have changed where nobody has run: what is told by that, and when it tells nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually
from tfnode.containers.evidence import Evidence, Memory, Scene
from tfnode.kernel import procfs
from tfnode.kernel.procfs import is_at_rest


@dataclass
class Account:
    """A control group that has used so much of a processor."""

    spent: float | None = 1.0

    def cpu_seconds(self) -> float | None:
        return self.spent


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        eventually(lambda: is_at_rest(process.pid))
        yield process
        process.kill()


def scene(process: subprocess.Popen[bytes], account: Account, **more: Any) -> Scene:
    group: Any = account
    return Scene(process.pid, group, {"": Path("/nowhere"), **more})


def seen(process: subprocess.Popen[bytes], cpu: float | None = 1.0, **more: Any) -> Evidence:
    processes = frozenset({procfs.process(process.pid)})
    return Evidence(procfs.packets(process.pid), processes, {}, Memory(cpu, "", b""), **more)


def test_one_that_has_used_no_processor_and_rests_has_stood_still(sleeper: subprocess.Popen[bytes]) -> None:
    assert scene(sleeper, Account()).stood_still(seen(sleeper))


def test_a_process_that_runs_is_not_at_rest_however_little_was_charged() -> None:
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as busy:
        eventually(lambda: not is_at_rest(busy.pid))
        assert not scene(busy, Account()).stood_still(seen(busy))
        busy.kill()


def test_each_thread_counts() -> None:
    script = "import threading\ndef run():\n    while True: pass\nthreading.Thread(target=run).start()"
    with subprocess.Popen(["python3", "-c", script]) as process:
        eventually(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) > 1)
        main = Path(f"/proc/{process.pid}/task/{process.pid}/stat")
        eventually(lambda: main.read_text().rpartition(")")[2].split()[0] == "S")
        assert not is_at_rest(process.pid)
        process.kill()


@pytest.mark.parametrize(
    ("account", "evidence"),
    [
        pytest.param(Account(1.5), {}, id="it has run"),
        pytest.param(Account(None), {"cpu": None}, id="nobody keeps account"),
        pytest.param(Account(), {"blind": "it is always rolled back"}, id="nobody wants to know"),
    ],
)
def test_otherwise_it_tells_nothing(
    sleeper: subprocess.Popen[bytes], account: Account, evidence: dict[str, Any]
) -> None:
    assert not scene(sleeper, account).stood_still(seen(sleeper, **evidence))


def test_a_volume_may_be_written_to_by_others(sleeper: subprocess.Popen[bytes]) -> None:
    place = scene(sleeper, Account(), **{"volume v: ": Path("/nowhere")})
    assert not place.stood_still(seen(sleeper))
