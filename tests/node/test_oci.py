"""The command lines of OCI runtimes: what is asked and what is made of the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfcore.errors import CommandFailed, DeadlineExceeded, HostLacks
from tfnode.runtime import oci
from tfnode.runtime.interface import Stdio
from tfnode.runtime.oci import OciRuntime, find_program, last_complaint


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        ("", ""),
        ('{"msg":"first","level":"error"}\n{"msg":"no such file","level":"error"}\n', "no such file"),
        ('{"msg":"it broke","level":"error"}\n{"msg":"careful","level":"warning"}\n', "it broke"),
        ("not json at all\n", "not json at all"),
        ('{"level":"error"}\n["odd"]\n', ""),
    ],
)
def test_the_last_error_is_what_it_says(log: str, complaint: str) -> None:
    assert last_complaint(log) == complaint


def program(directory: Path, name: str, script: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    return tmp_path / "bundle"


def test_crun_is_told_everything_in_its_own_words(tmp_path: Path, bundle: Path) -> None:
    script = f'echo "$@" > {tmp_path}/asked; while [ "$1" != --pid-file ]; do shift; done; echo 42 > "$2"'
    runtime = OciRuntime(program(tmp_path, "crun", script), tmp_path / "root")
    assert runtime.create("c1", bundle, bundle / "pid", Stdio(), cgroups=True) == 42
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:2] == ["--root", str(tmp_path / "root/state")]
    assert asked[6:] == [
        "--cgroup-manager", "cgroupfs", "create", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), "c1",
    ]  # fmt: skip


def test_crun_can_do_without_control_groups_and_runc_cannot(tmp_path: Path) -> None:
    script = f'echo "$@" > {tmp_path}/asked'
    OciRuntime(program(tmp_path, "crun", script), tmp_path / "root").start("c1", cgroups=False)
    assert "--cgroup-manager disabled start c1" in (tmp_path / "asked").read_text()
    with pytest.raises(HostLacks, match="runc"):
        OciRuntime(program(tmp_path, "runc", script), tmp_path / "root").start("c1", cgroups=False)


def test_a_failure_carries_the_programs_words_and_leaves_no_file(tmp_path: Path) -> None:
    script = """while [ "$1" != --log ]; do shift; done; echo '{"msg":"no space","level":"error"}' > "$2"; exit 3"""
    runtime = OciRuntime(program(tmp_path, "crun", script), tmp_path / "root")
    with pytest.raises(CommandFailed, match="crun start of container c1: no space") as caught:
        runtime.start("c1", cgroups=True)
    assert caught.value.details == {"program": "crun", "verb": "start", "how": "status 3"}
    assert list((tmp_path / "root/log").iterdir()) == []


def test_a_failure_without_words_says_so(tmp_path: Path) -> None:
    runtime = OciRuntime(program(tmp_path, "crun", "exit 9"), tmp_path / "root")
    with pytest.raises(CommandFailed, match="no word, only status 9"):
        runtime.start("c1", cgroups=True)


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci, "TIMEOUT", 0.05)
    runtime = OciRuntime(program(tmp_path, "crun", "exec sleep 1000"), tmp_path / "root")
    with pytest.raises(DeadlineExceeded, match=r"crun start of container c1 took more than 0\.05 s"):
        runtime.start("c1", cgroups=True)


def test_nothing_of_our_environment_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    OciRuntime(program(tmp_path, "crun", f"env > {tmp_path}/env"), tmp_path / "root").start("c1", cgroups=True)
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"}


def test_deleting_what_it_does_not_know_asks_nothing(tmp_path: Path) -> None:
    OciRuntime(program(tmp_path, "crun", "exit 1"), tmp_path / "root").delete("c1", cgroups=True)


def test_crun_comes_before_runc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci, "CLEAN_ENVIRONMENT", {"PATH": str(tmp_path)})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostLacks, match="no OCI runtime"):
        find_program()
    program(tmp_path, "runc", "")
    assert find_program().name == "runc"
    program(tmp_path, "crun", "")
    assert find_program().name == "crun"
