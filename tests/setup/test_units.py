"""The systemd units: systemd itself finds nothing wrong with them, and they start what there is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = [ROOT / "location/systemd/tf-location.service", ROOT / "node/systemd/tf-node.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_it(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze on this machine")
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace("/usr/local/bin/", f"{Path(sys.executable).parent}/"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)], capture_output=True, text=True, timeout=60, check=False
    )
    about = [line for line in done.stderr.splitlines() if unit.name in line]  # others' units are not ours to mend
    assert about == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_starts_a_command_that_there_is(unit: Path) -> None:
    line = next(line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
    program, *arguments = line.partition("=")[2].split()
    done = subprocess.run(
        [Path(sys.executable).parent / Path(program).name, arguments[0], "--help"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    options = [argument for argument in arguments if argument.startswith("--")]
    assert all(option in done.stdout for option in options)
