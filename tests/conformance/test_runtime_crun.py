"""crun and runc, held to what every runtime promises: with each layout of control groups, and without any."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.privacy import hide_cgroups, show_only_cgroup2
from tests.support.runtime_machine import RuntimeMachine, needs_crun
from tfnode.cgroups import layout
from tfnode.testing.runtime_suite import RuntimeSuite

pytestmark = needs_crun


class TestCrun(RuntimeMachine, RuntimeSuite):
    """With the control groups this machine has."""


class TestCrunOnVersionTwo(RuntimeMachine, RuntimeSuite):
    """With nothing but version 2, on a machine that has version 1."""

    def arrange_cgroups(self) -> None:
        if layout.see().unified is not None:
            pytest.skip("this machine has nothing but cgroup v2: TestCrun has tried it")
        show_only_cgroup2()


class TestCrunWithoutCgroups(RuntimeMachine, RuntimeSuite):
    """With none at all."""

    def arrange_cgroups(self) -> None:
        hide_cgroups()


class TestRunc(RuntimeMachine, RuntimeSuite):
    """The fallback."""

    def find_program(self, scratch: Path) -> Path:
        if (found := shutil.which("runc")) is None:
            pytest.skip("the package runc is not installed")
        return Path(found)
